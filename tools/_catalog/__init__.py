"""Dated facts with a source each.

gpus        accelerators by name: memory, bandwidth, dense throughput by precision, native number formats
prices      rented machines by provider, region and name
carbon      grams of CO2 for a kilowatt hour by region
"""

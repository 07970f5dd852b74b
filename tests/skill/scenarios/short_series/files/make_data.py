"""Writes demand.csv: twelve shops, three years of months, a yearly season and a trend."""

import random

random.seed(0)
with open("demand.csv", "w", encoding="utf-8") as file:
    file.write("shop,month,demand\n")
    for shop in range(12):
        level, slope = random.uniform(80, 200), random.uniform(-1, 2)
        shape = [random.uniform(0.7, 1.3) for _ in range(12)]
        for month in range(36):
            value = (level + slope * month) * shape[month % 12] * random.uniform(0.93, 1.07)
            file.write(f"s{shop:02},{2021 + month // 12}-{month % 12 + 1:02}-01,{value:.1f}\n")

from transformers import TrainingArguments

arguments = TrainingArguments("out")
import torch

from transformers import Trainer, TrainingArguments

arguments = TrainingArguments(
    output_dir="out",
    fp16=False,
    num_train_epochs=3,  # enough
)
Trainer(model=model, args=arguments, train_dataset=data).train()

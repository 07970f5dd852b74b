"""What to write in a script whose training loop is a framework's, remedy by remedy."""

ADVICE = {
    ("transformers", "gradient_accumulation"): (
        "gradient_accumulation_steps={steps} of TrainingArguments, per_device_train_batch_size divided by {steps}"
    ),
    ("transformers", "gradient_checkpointing"): "gradient_checkpointing=True of TrainingArguments",
    ("transformers", "early_stopping"): (
        "callbacks=[EarlyStoppingCallback(5)] of the Trainer, and of TrainingArguments load_best_model_at_end=True, "
        'metric_for_best_model="eval_loss", eval_strategy="epoch", save_strategy="epoch"'
    ),
    (
        "transformers",
        "dataloader",
    ): "dataloader_num_workers=4 of TrainingArguments, if the data are no stream",
    ("transformers", "compile"): "torch_compile=True of TrainingArguments",
    ("transformers", "fused_optimizer"): 'optim="adamw_torch_fused" of TrainingArguments',
    ("lightning", "gradient_accumulation"): (
        "accumulate_grad_batches={steps} of the Trainer, and a loader with a {steps}-th of the batch size (a last, "
        "smaller group is divided by {steps} as well, so it weighs less than today)"
    ),
    ("lightning", "gradient_checkpointing"): (
        "torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False) in the module's forward"
    ),
    ("lightning", "lr_schedule"): "return a schedule beside the optimizer in configure_optimizers",
    ("lightning", "early_stopping"): (
        'callbacks=[EarlyStopping(monitor=..., mode="min", patience=5)] of the Trainer, for the loss that '
        "validation_step logs"
    ),
    ("lightning", "compile"): "module.compile() in front of trainer.fit",
    ("fabric", "gradient_accumulation"): (
        "a {steps}-th of the batch size, backward(loss / {steps}) under fabric.no_backward_sync(model) for all "
        "but each {steps}th batch, which steps"
    ),
    ("accelerate", "gradient_accumulation"): (
        "Accelerator(gradient_accumulation_steps={steps}), the body of the loop under "
        "`with accelerator.accumulate(model):`, and a {steps}-th of the batch size"
    ),
    ("deepspeed", "gradient_accumulation"): (
        '"gradient_accumulation_steps": {steps} in DeepSpeed\'s configuration, "train_batch_size" as it is'
    ),
    (
        "deepspeed",
        "lr_schedule",
    ): '"scheduler": {{"type": "WarmupCosineLR", ...}} in DeepSpeed\'s configuration',
    ("deepspeed", "early_stopping"): "one decision for all processes, sent with torch.distributed.broadcast",
    ("ignite", "gradient_accumulation"): (
        "gradient_accumulation_steps={steps} of create_supervised_trainer, and a {steps}-th of the batch size"
    ),
    ("ignite", "lr_schedule"): "a handler of ignite.handlers.param_scheduler on the trainer",
    ("ignite", "early_stopping"): "ignite.handlers.EarlyStopping on the evaluator",
    ("composer", "gradient_accumulation"): 'device_train_microbatch_size="auto" of the Trainer',
    ("composer", "early_stopping"): "callbacks=[EarlyStopper(...)] of the Trainer",
    ("composer", "lr_schedule"): "schedulers=CosineAnnealingWithWarmupScheduler(...) of the Trainer",
    ("fastai", "gradient_accumulation"): (
        "cbs=GradientAccumulation(n_acc=SAMPLES) of the Learner, with the samples of a step, and a {steps}-th of bs"
    ),
    ("fastai", "lr_schedule"): "learn.fit_one_cycle in place of learn.fit",
    ("fastai", "early_stopping"): 'cbs=EarlyStoppingCallback(monitor="valid_loss", patience=5) of the fit',
    (
        "skorch",
        "gradient_accumulation",
    ): "a train_step that steps every {steps} batches, as skorch's FAQ shows",
    ("skorch", "lr_schedule"): "callbacks=[LRScheduler(...)] of the net",
    ("skorch", "early_stopping"): "callbacks=[EarlyStopping(patience=5)] of the net",
    ("skorch", "dataloader"): "iterator_train__num_workers=4 of the net",
    ("skorch", "compile"): "compile=True of the net",
}

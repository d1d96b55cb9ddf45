"""Other people's trainers; each file needs its library, and is imported by who uses it.

`lightning.DistillModule`, `transformers.DistillTrainer`, `sentence_transformers.MethodLoss` with
its trainer, `timm.DistillTask` and `pytorch_metric_learning.MetricLoss`. All of them are
`asterism.Distillation` inside; docs/own-trainer.md shows each at work, with plain PyTorch and
accelerate, which need nothing from here.
"""

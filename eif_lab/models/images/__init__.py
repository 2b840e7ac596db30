"""Image classifiers of transformers and of torchvision."""

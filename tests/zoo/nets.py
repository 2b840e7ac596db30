"""Models of torchvision and transformers, tiny; those that take more than a moment are left to ``make test-zoo``."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Case, Data, task
from .data import arrays, images, labels, normal

STEPS = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01, "steps": 2}
ADAM = {"optimizer": "adam", "learning_rate": 0.005, "steps": 2}
EXCLUDE = {"perturbation": "exclude", "update": {"learning_rate": 0.1}}
LORA = {"method": "lora", "update": {"learning_rate": 0.2, "steps": 2}}


class Logits(nn.Module):
    """A model of transformers, of which the logits alone are given out."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.inner(*args, **kwargs).logits


class Pooled(nn.Module):
    """The mean of an encoder's last states over the real words, and a head."""

    def __init__(self, inner: nn.Module, width: int) -> None:
        super().__init__()
        self.inner, self.head = inner, nn.Linear(width, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.inner(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask[..., None].to(states.dtype)
        return self.head((states * weights).sum(1) / weights.sum(1))


def sentences(tags: bool = False, types: bool = False) -> Data:
    """Ids with a padding mask, by name; all but the first row are padded."""

    def data(count: int, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
        ids = torch.randint(3, 40, (count, 7), generator=generator)
        mask = torch.ones_like(ids)
        for row in range(1, count):
            mask[row, 6 - row % 4 :] = 0
        ids = torch.where(mask == 1, ids, 0)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if types:
            inputs["token_type_ids"] = (torch.arange(7) > 3).long().repeat(count, 1)
        target = torch.randint(3, (count, 7), generator=generator) if tags else labels(count, generator)
        return inputs, torch.where(mask == 1, target, -100) if tags else target

    return data


TEXT = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
    "num_labels": 3,
}


def text(name: str, head: str = "ForSequenceClassification", **options: Any):
    """A maker of the model that goes by this name, with a head."""

    def build() -> nn.Module:
        import transformers

        given = {key: value for key, value in {**TEXT, **options}.items() if value is not None}
        config = getattr(transformers, f"{name}Config")(**given)
        return Logits(getattr(transformers, f"{name}{head}")(config))

    return build


def t5_encoder() -> nn.Module:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=40, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_heads=2, pad_token_id=0)
    return Pooled(T5EncoderModel(config), 8)


def vision(name: str, **options: Any):
    """A maker of the vision model that goes by this name, for three classes."""

    def build() -> nn.Module:
        import transformers

        config = getattr(transformers, f"{name}Config")(num_labels=3, **options)
        return Logits(getattr(transformers, f"{name}ForImageClassification")(config))

    return build


class Upsampled(nn.Module):
    """Segmentation at the size of the target."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        config = SegformerConfig(
            num_channels=1,
            num_encoder_blocks=2,
            depths=[1, 1],
            sr_ratios=[2, 1],
            hidden_sizes=[4, 8],
            patch_sizes=[3, 3],
            strides=[2, 2],
            num_attention_heads=[1, 2],
            mlp_ratios=[2, 2],
            decoder_hidden_size=8,
            num_labels=3,
        )
        self.inner = SegformerForSemanticSegmentation(config)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.inner(x).logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


def pixels(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x = normal(count, 1, 16, 16, generator=generator)
    return x, torch.randint(3, (count, 16, 16), generator=generator)


def audio() -> nn.Module:
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    config = Wav2Vec2Config(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(4, 2),
        conv_kernel=(5, 3),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        num_labels=3,
    )
    return Logits(Wav2Vec2ForSequenceClassification(config))


def by_word(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def torchvision_resnet() -> nn.Module:
    from torchvision.models.resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3)


def torchvision_vit() -> nn.Module:
    """Its head is zero at first."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(8, 4, 1, 2, 12, 16, num_classes=3)


def torchvision_swin(version: int) -> nn.Module:
    from torchvision.models import swin_transformer as swin

    block = {1: {}, 2: {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2}}[version]
    return swin.SwinTransformer([2, 2], 8, [2, 1], [1, 2], [2, 2], num_classes=3, **block)


def torchvision_convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(6, 8, 1), CNBlockConfig(8, None, 1)], 0.1, 0.5, num_classes=3)


def torchvision_densenet() -> nn.Module:
    from torchvision.models import DenseNet

    return DenseNet(4, (2, 1), 8, num_classes=3, memory_efficient=False)


def torchvision_checkpointed_densenet() -> nn.Module:
    """Recomputes its layers by reentrant or other checkpoints, as torchvision does."""
    from torchvision.models import DenseNet

    return DenseNet(4, (2, 1), 8, num_classes=3, memory_efficient=True)


def named(name: str):
    """A maker of torchvision's model of this name."""

    def build() -> nn.Module:
        from torchvision import models

        return getattr(models, name)(weights=None, num_classes=3)

    return build


def large(name: str, build, data: Data, **options: Any) -> Case:
    """One for ``make test-zoo`` alone."""
    options.setdefault("options", {"update": STEPS | {"learning_rate": 0.003}})
    return Case(name, "net of a library", task(build, data), slow=True, scales=False, stimuli=4, probes=4, **options)


def small(name: str, build, data: Data, **options: Any) -> Case:
    options.setdefault("options", {"update": STEPS})
    options.setdefault("slow", name not in QUICK)
    return Case(name, "net of a library", task(build, data, options.pop("loss", F.cross_entropy)), **options)


QUICK = (
    "Swinv2, 3 stimuli",
    "BERT",
    "DeBERTa v2",
    "ALBERT, whose layers share their weights",
    "T5's encoder",
    "ViT",
    "SegFormer",
    "wav2vec 2",
    "torchvision's ViT, whose head is zero at first",
    "torchvision's Swin",
    "torchvision's ConvNeXt",
)
"""Those that every run of the tests holds to the loop."""

SWIN_V2 = {
    "image_size": 24,
    "patch_size": 2,
    "num_channels": 1,
    "embed_dim": 8,
    "depths": [2],
    "num_heads": [2],
    "window_size": 4,
}
VIT = {
    "image_size": 8,
    "patch_size": 4,
    "num_channels": 1,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


CASES = [
    *[
        small(f"Swinv2, {n} stimuli", vision("Swinv2", **SWIN_V2), images(1, 24), stimuli=n, probes=5)
        for n in (3, 4, 9)
    ],
    small("Swinv2, all but one", vision("Swinv2", **SWIN_V2), images(1, 24), stimuli=4, options=EXCLUDE, slow=True),
    small("Swinv2, lora", vision("Swinv2", **SWIN_V2), images(1, 24), stimuli=3, probes=4, options=LORA, slow=True),
    small("BERT", text("Bert"), sentences(types=True)),
    small("BERT, adam", text("Bert"), sentences(), options={"update": ADAM}),
    small("BERT, lora", text("Bert"), sentences(), options=LORA),
    small("BERT, all but one", text("Bert"), sentences(), options=EXCLUDE),
    small(
        "BERT, words tagged",
        text("Bert", "ForTokenClassification"),
        sentences(tags=True),
        loss=by_word,
        options={"readout": ["log_prob", "rank"], "update": STEPS},
    ),
    small("BERT with eager attention", text("Bert", attn_implementation="eager"), sentences()),
    small(
        "DeBERTa v2",
        text(
            "DebertaV2",
            relative_attention=True,
            pos_att_type=["c2p", "p2c"],
            position_buckets=4,
            type_vocab_size=0,
            norm_rel_ebd="layer_norm",
        ),
        sentences(),
    ),
    small(
        "DeBERTa v2 with a convolution",
        text(
            "DebertaV2",
            relative_attention=True,
            pos_att_type="p2c|c2p",
            conv_kernel_size=3,
            conv_act="gelu",
            share_att_key=True,
            pooler_hidden_size=8,
        ),
        sentences(),
    ),
    small("RoBERTa", text("Roberta", pad_token_id=0), sentences()),
    small("DistilBERT", text("DistilBert", dim=8, n_layers=2, n_heads=2, hidden_dim=16), sentences()),
    small("ELECTRA", text("Electra", embedding_size=6), sentences()),
    small("ALBERT, whose layers share their weights", text("Albert", embedding_size=6), sentences(types=True)),
    small(
        "ModernBERT",
        text(
            "ModernBert",
            global_attn_every_n_layers=2,
            local_attention=4,
            cls_token_id=1,
            sep_token_id=2,
            bos_token_id=1,
            eos_token_id=2,
        ),
        sentences(),
    ),
    small(
        "XLNet", text("XLNet", max_position_embeddings=None, d_model=8, n_layer=1, n_head=2, d_inner=16), sentences()
    ),
    small("MPNet", text("MPNet"), sentences()),
    small("Nystromformer", text("Nystromformer", num_landmarks=7, segment_means_seq_len=7), sentences()),
    small("T5's encoder", t5_encoder, sentences()),
    small("T5's encoder, lora", t5_encoder, sentences(), options=LORA),
    small("ViT", vision("ViT", **VIT), images(1, 8)),
    small("DeiT", vision("DeiT", **VIT), images(1, 8)),
    small(
        "BEiT with relative positions",
        vision(
            "Beit",
            **VIT,
            use_relative_position_bias=True,
            use_shared_relative_position_bias=False,
            layer_scale_init_value=0.1,
        ),
        images(1, 8),
    ),
    small("DINOv2", vision("Dinov2", **VIT), images(1, 8)),
    small("Swin", vision("Swin", **{**SWIN_V2, "image_size": 16}), images(1, 16)),
    small(
        "ConvNext", vision("ConvNext", num_channels=1, hidden_sizes=[4, 8], depths=[1, 1], num_stages=2), images(1, 16)
    ),
    small(
        "ResNet of transformers",
        vision("ResNet", num_channels=1, embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic"),
        images(1, 16),
    ),
    small(
        "PoolFormer",
        vision(
            "PoolFormer",
            num_channels=1,
            hidden_sizes=[4, 8],
            depths=[1, 1],
            num_encoder_blocks=2,
            patch_sizes=[3, 3],
            strides=[2, 2],
            padding=[1, 1],
            mlp_ratio=2.0,
        ),
        images(1, 16),
    ),
    small("SegFormer", Upsampled, pixels, classes_at=1, stimuli=3, probes=3),
    small("wav2vec 2", audio, arrays(200)),
    small(
        "torchvision's ViT, whose head is zero at first",
        torchvision_vit,
        images(3, 8),
        options={"update": {"learning_rate": 0.1, "steps": 3}},
    ),
    small("torchvision's Swin", lambda: torchvision_swin(1), images(3, 16)),
    small("torchvision's Swin v2", lambda: torchvision_swin(2), images(3, 16), stimuli=4),
    small("torchvision's ConvNeXt", torchvision_convnext, images(3, 16)),
    small("torchvision's DenseNet", torchvision_densenet, images(3, 32), stimuli=4, probes=4),
    small(
        "torchvision's DenseNet, checkpointed", torchvision_checkpointed_densenet, images(3, 32), stimuli=4, probes=4
    ),
    large("torchvision's small ResNet", torchvision_resnet, images(3, 16)),
    large("torchvision's ResNet-18", named("resnet18"), images(3, 32)),
    large("torchvision's ResNet-18, lora", named("resnet18"), images(3, 32), options=LORA),
    large("torchvision's MobileNet v3", named("mobilenet_v3_small"), images(3, 32)),
    large("torchvision's MobileNet v2", named("mobilenet_v2"), images(3, 32)),
    large("torchvision's SqueezeNet", named("squeezenet1_1"), images(3, 48)),
    large("torchvision's ShuffleNet", named("shufflenet_v2_x0_5"), images(3, 32)),
    large("torchvision's EfficientNet", named("efficientnet_b0"), images(3, 32)),
    large("torchvision's RegNet", named("regnet_y_400mf"), images(3, 32)),
    large("torchvision's MNASNet", named("mnasnet0_5"), images(3, 32)),
]

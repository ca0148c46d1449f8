"""Models of others → packages of coremltools: plain torch networks and small random Transformers architectures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import coremltools as ct
import numpy as np
import torch
import transformers
from torch import Tensor, nn

from runtime.mil.numerics import Array
from tests.tensor.mil import foreign_detection, foreign_nets, foreign_sequences

IMAGE = (1, 3, 32, 32)
TARGETS = {5: ct.target.iOS15, 6: ct.target.iOS16, 7: ct.target.iOS17, 8: ct.target.iOS18}


@dataclass(frozen=True)
class Foreign:
    """A model to build, the shapes of its inputs (a shape with a vocabulary size in front is ids), and how it is
    captured: "export" or "trace"."""

    build: Callable[[], nn.Module]
    shapes: tuple[Any, ...]
    capture: str = "export"


class First(nn.Module):
    """Of a Transformers model, the tensors it answers with; ids or pixels by position."""

    def __init__(self, model: nn.Module, *names: str, **fixed: Any) -> None:
        super().__init__()
        self.model, self.names, self.fixed = model, names, fixed

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        out = self.model(**dict(zip(self.names, given, strict=True)), **self.fixed, return_dict=True)
        kept = ("logits", "last_hidden_state", "pooler_output", "predicted_depth", "image_embeds", "text_embeds")
        return tuple(out[name] for name in kept if name in out and out[name] is not None)


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
TEXT = SMALL | {"vocab_size": 60, "max_position_embeddings": 40, "attn_implementation": "eager"}
VISION = SMALL | {"image_size": 32, "patch_size": 8, "attn_implementation": "eager"}


def hugging(model: str, config: str, sizes: Mapping[str, Any], *names: str, **fixed: Any) -> Callable[[], nn.Module]:
    """A builder of transformers.<model> with random weights."""

    def build() -> nn.Module:
        kind, form = getattr(transformers, model), getattr(transformers, config)
        return First(kind(form(**sizes)), *names, **fixed)

    return build


def text(model: str, config: str, **more: Any) -> Foreign:
    """ids and a mask of a sequence of 12."""
    build = hugging(model, config, TEXT | more, "input_ids", "attention_mask")
    return Foreign(build, ((60, 1, 12), (2, 1, 12)))


def vision(model: str, config: str, shape: tuple[int, ...] = IMAGE, **more: Any) -> Foreign:
    return Foreign(hugging(model, config, VISION | more, "pixel_values"), (shape,))


def _plain(name: str) -> Callable[[], nn.Module]:
    """The builder of that name in one of the two files."""
    build: Callable[[], nn.Module] = getattr(foreign_nets, name, None) or getattr(foreign_sequences, name)
    return build


PLAIN = {
    "resnet bottleneck mobilenet_v2 mobilenet_v3 efficientnet densenet squeezenet inception vgg shufflenet convnext": IMAGE,
    "unet_transposed unet_bilinear unet_half_pixels fpn deeplab espcn srgan unshuffled style_transfer group_norm": IMAGE,
    "yolo mixer flow_warp": IMAGE,
    "alexnet": (1, 3, 63, 63),
    "dcgan": (1, 16, 1, 1),
    "video": (1, 3, 4, 14, 14),
    "temporal": (1, 4, 20),
    "wavenet": (1, 1, 24),
    "autoencoder": (1, 2, 16),
    "spatial_transformer": (1, 1, 16, 16),
    "scan cumulative_scan": (1, 7, 8),
    "speech_encoder": (1, 8, 20),
    "ranker": (2, 9, 4),
    "arithmetic": (2, 4, 5),
}
MODELS: dict[str, Foreign] = {
    name: Foreign(_plain(name), (shape,)) for names, shape in PLAIN.items() for name in names.split()
}
#: captured in the other way too: it writes other ops
TRACED = (
    "resnet densenet squeezenet inception alexnet video convnext unet_transposed unet_bilinear unet_half_pixels"
    " espcn srgan unshuffled dcgan style_transfer group_norm temporal autoencoder flow_warp spatial_transformer arithmetic"
)
MODELS |= {f"{name}_trace": Foreign(MODELS[name].build, MODELS[name].shapes, "trace") for name in TRACED.split()}
#: what coremltools refuses in an exported program
for _name in (
    "arithmetic",
    "convnext",
    "unet_transposed",
    "unet_bilinear",
    "unet_half_pixels",
    "flow_warp",
    "spatial_transformer",
):
    del MODELS[_name]
MODELS |= {
    f"{name}_{capture}": Foreign(_plain(name), ((20, 1, 6),), capture)
    for name in ("lstm_tagger", "bilstm_tagger", "gru_tagger", "rnn_tagger")
    for capture in ("export", "trace")
}
MODELS |= {
    "crnn_trace": Foreign(foreign_sequences.crnn, ((1, 1, 8, 12),), "trace"),
    "speech_decoder": Foreign(foreign_sequences.speech_decoder, ((30, 1, 6), (1, 10, 16))),
    "bert": text("BertModel", "BertConfig"),
    "distilbert": text("DistilBertModel", "DistilBertConfig", dim=32, hidden_dim=48, n_layers=2, n_heads=2),
    "roberta": text("RobertaForSequenceClassification", "RobertaConfig"),
    "albert": text("AlbertModel", "AlbertConfig", embedding_size=16),
    "electra": text("ElectraForTokenClassification", "ElectraConfig", embedding_size=16),
    "mpnet": text("MPNetModel", "MPNetConfig"),
    "deberta_v2": text("DebertaV2Model", "DebertaV2Config", relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "layoutlm": text("LayoutLMModel", "LayoutLMConfig"),
    "roformer": text("RoFormerModel", "RoFormerConfig"),
    "squeezebert": text("SqueezeBertModel", "SqueezeBertConfig", embedding_size=32),
    "xlm_roberta": text("XLMRobertaModel", "XLMRobertaConfig"),
    "modernbert": text(
        "ModernBertModel",
        "ModernBertConfig",
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    ),
    "t5_encoder": text("T5EncoderModel", "T5Config", d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2),
    "gpt2": text("GPT2LMHeadModel", "GPT2Config", n_embd=32, n_layer=2, n_head=2, n_positions=40, use_cache=False),
    "opt": text("OPTForCausalLM", "OPTConfig", ffn_dim=48, word_embed_proj_dim=32, use_cache=False),
    "llama": text("LlamaForCausalLM", "LlamaConfig", use_cache=False),
    "gemma": text("GemmaForCausalLM", "GemmaConfig", head_dim=16, num_key_value_heads=1, use_cache=False),
    "mamba": Foreign(
        hugging(
            "MambaForCausalLM",
            "MambaConfig",
            {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 60, "state_size": 4, "use_cache": False},
            "input_ids",
        ),
        ((60, 1, 8),),
    ),
    "vit": vision("ViTModel", "ViTConfig"),
    "deit": vision("DeiTModel", "DeiTConfig"),
    "beit": vision("BeitModel", "BeitConfig", use_relative_position_bias=True),
    "dinov2": vision("Dinov2Model", "Dinov2Config"),
    "clip_vision": vision("CLIPVisionModel", "CLIPVisionConfig"),
    "clip_text": text("CLIPTextModel", "CLIPTextConfig", eos_token_id=2),
    "hf_convnext": vision("ConvNextModel", "ConvNextConfig", hidden_sizes=[8, 16], depths=[1, 1], num_stages=2),
    "hf_resnet": vision(
        "ResNetForImageClassification",
        "ResNetConfig",
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        layer_type="basic",
    ),
    "regnet": Foreign(
        hugging(
            "RegNetModel",
            "RegNetConfig",
            {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 4},
            "pixel_values",
        ),
        (IMAGE,),
    ),
    "hf_mobilenet_v2": vision("MobileNetV2Model", "MobileNetV2Config", depth_multiplier=0.25),
    "segformer": vision(
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
    ),
    "poolformer": vision(
        "PoolFormerModel",
        "PoolFormerConfig",
        hidden_sizes=[8, 16],
        depths=[1, 1],
        num_encoder_blocks=2,
        patch_sizes=[7, 3],
        strides=[4, 2],
        padding=[2, 1],
    ),
    "mobilevit": vision(
        "MobileViTModel",
        "MobileViTConfig",
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 16, 16, 16, 16, 32],
        num_attention_heads=2,
        image_size=64,
        shape=(1, 3, 64, 64),
    ),
    "whisper": Foreign(
        hugging(
            "WhisperModel",
            "WhisperConfig",
            {
                "d_model": 32,
                "encoder_layers": 1,
                "decoder_layers": 1,
                "encoder_attention_heads": 2,
                "decoder_attention_heads": 2,
                "encoder_ffn_dim": 48,
                "decoder_ffn_dim": 48,
                "vocab_size": 60,
                "num_mel_bins": 8,
                "max_source_positions": 10,
                "max_target_positions": 20,
                "pad_token_id": 0,
                "bos_token_id": 1,
                "eos_token_id": 2,
                "decoder_start_token_id": 1,
                "attn_implementation": "eager",
            },
            "input_features",
            "decoder_input_ids",
            use_cache=False,
        ),
        ((1, 8, 20), (60, 1, 5)),
    ),
    "wav2vec2": Foreign(
        hugging(
            "Wav2Vec2Model",
            "Wav2Vec2Config",
            SMALL
            | {
                "conv_dim": [8, 8],
                "conv_kernel": [5, 3],
                "conv_stride": [3, 2],
                "num_conv_pos_embeddings": 4,
                "num_conv_pos_embedding_groups": 2,
                "num_feat_extract_layers": 2,
                "attn_implementation": "eager",
            },
            "input_values",
        ),
        ((1, 64),),
    ),
    "detector_trace": Foreign(foreign_detection.detector, (IMAGE,), "trace"),
}


@dataclass(frozen=True)
class Sample:
    """A built module, its inputs by name, and what PyTorch yields for them."""

    module: nn.Module
    inputs: dict[str, Array]
    outputs: tuple[Array, ...]


def _given(shape: tuple[int, ...], draws: np.random.Generator) -> Array:
    """A shape of three with an even shorter meaning: (vocabulary, 1, length) are ids; a vocabulary of 2 is a mask of
    ones."""
    vocabulary, *rest = shape
    if len(shape) == 3 and vocabulary > 1 and rest[0] == 1:
        return np.ones(rest, np.int32) if vocabulary == 2 else draws.integers(3, vocabulary, rest).astype(np.int32)
    return draws.normal(size=shape).astype(np.float32)


def _lively(module: nn.Module) -> nn.Module:
    """In evaluation, with statistics and scales that are not 1 and 0."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        if isinstance(part, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm) and part.weight is not None:
            nn.init.uniform_(part.weight, 0.5, 1.5)
            if part.bias is not None:
                nn.init.normal_(part.bias, 0, 0.2)
    return module.eval()


def sample(name: str) -> Sample:
    """A model with weights and inputs of seed 0, and its answer in float32."""
    torch.manual_seed(0)
    made, draws = MODELS[name], np.random.default_rng(0)
    module = _lively(made.build())
    arrays = [_given(shape, draws) for shape in made.shapes]
    with torch.no_grad():
        out = module(*map(torch.from_numpy, arrays))
    outputs = out if isinstance(out, tuple | list) else (out,)
    return Sample(
        module, {f"in_{index}": array for index, array in enumerate(arrays)}, tuple(value.numpy() for value in outputs)
    )


def captured(given: Sample, capture: str) -> Any:
    """A traced module, or an exported program with the default decompositions and without aliases."""
    arguments = tuple(torch.from_numpy(value) for value in given.inputs.values())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if capture == "trace":
            return torch.jit.trace(given.module, arguments, check_trace=False)
        found = torch.export.export(given.module, arguments).run_decompositions()
    for node in list(found.graph.nodes):
        if node.op == "call_function" and str(node.target).startswith("aten.alias"):
            node.replace_all_uses_with(node.args[0])
            found.graph.erase_node(node)
    for node in reversed(list(found.graph.nodes)):
        if node.op == "call_function" and "assert" in str(node.target).lower() and not node.users:
            found.graph.erase_node(node)
    found.graph.eliminate_dead_code()
    found.graph_module.recompile()
    return found


def converted(given: Sample, capture: str, opset: int, precision: Any = ct.precision.FLOAT32) -> Any:
    """The package coremltools makes of it; outputs are named out_0, out_1, …"""
    inputs = [
        ct.TensorType(name=name, shape=value.shape, dtype=value.dtype.type) for name, value in given.inputs.items()
    ]
    return ct.convert(
        captured(given, capture),
        inputs=inputs,
        outputs=[ct.TensorType(name=f"out_{index}") for index in range(len(given.outputs))],
        minimum_deployment_target=TARGETS[opset],
        compute_precision=precision,
        convert_to="mlprogram",
        skip_model_load=True,
    )

"""Models of Llama's form in Phi-3's: the same logits, from the hub's format and from GGUF; and SmolLM2 itself."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quants
from language import byte_level_tokenizer, save_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, Phi3ForCausalLM

from eif_lab import open_results
from eif_lab.commands import dispatch
from eif_lab.commands.convert import main
from eif_lab.errors import ConfigError
from eif_lab.figures.runs import model_title
from eif_lab.models.language.joining import join
from eif_lab.models.language.phi3 import Phi3

ROOT = Path(__file__).parents[2]

SIZES = {
    "vocab_size": 330,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
}


def small_llama(**options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**SIZES | options)).eval()
        model.to(model.config.dtype or torch.float32)
        for name, weight in model.named_parameters():
            if "norm" in name:  # or each would be ones
                torch.nn.init.uniform_(weight, 0.5, 1.5)
    return model


@pytest.fixture
def llama_folder(tmp_path):
    small_llama().save_pretrained(tmp_path / "llama")
    byte_level_tokenizer().save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def text(length=40):
    return torch.randint(0, SIZES["vocab_size"], (3, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(model, ids):
    return model(input_ids=ids, use_cache=False).logits


# Joining


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_key_value_heads": 2, "pad_token_id": None},
        {"num_key_value_heads": 1, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e5}, "rms_norm_eps": 1e-3},
        {"eos_token_id": [2, 3], "attention_dropout": 0.1},
    ],
    ids=["plain", "grouped", "multi_query", "rotation", "ends"],
)
def test_a_joined_model_gives_the_logits_of_its_source_to_the_last_bit_also_saved_and_loaded(options, tied, tmp_path):
    llama = small_llama(tie_word_embeddings=tied, **options)
    joined = join(llama)
    joined.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(joined) is type(loaded) is Phi3ForCausalLM
    for length in (1, 40, 150):  # the last is beyond the positions that it was made for
        expected = logits(llama, text(length))
        assert torch.equal(logits(joined, text(length)), expected) and torch.equal(
            logits(loaded, text(length)), expected
        )
    assert joined.num_parameters() == loaded.num_parameters() == llama.num_parameters()
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(loaded.config, name) == getattr(llama.config, name)


@pytest.mark.parametrize("options", [{"dtype": torch.bfloat16}, {"hidden_act": "gelu"}], ids=["bfloat16", "gelu"])
def test_where_kernels_round_a_joined_matrix_otherwise_logits_differ_by_that_alone(options):
    """The numbers are the same; how a product is summed, or an activation computed, may follow from the shapes."""
    llama = small_llama(**{"num_key_value_heads": 2} | options)
    joined = join(llama)
    assert {weight.dtype for weight in joined.parameters()} == {llama.dtype}
    for one, other in zip(joined.model.layers, llama.model.layers):
        attention, mlp = other.self_attn, other.mlp
        parts = [attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]
        assert torch.equal(one.self_attn.qkv_proj.weight, torch.cat(parts))
        assert torch.equal(one.mlp.gate_up_proj.weight, torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]))
    scale = 16 * torch.finfo(llama.dtype).eps
    torch.testing.assert_close(logits(joined, text()), logits(llama, text()), rtol=scale, atol=4 * scale)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"attention_bias": True}, r"attention_bias False .*, got True"),
        ({"mlp_bias": True}, r"mlp_bias False .*, got True"),
        ({"head_dim": 32}, r"head_dim 16 .*, got 32"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, r"rope_type .*, got 'linear'"),
        (
            {
                "rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4}
            },  # Phi-3's would take it for LongRoPE
            r"rope_type .*, got 'yarn'",
        ),
    ],
)
def test_what_the_form_of_phi3_has_no_place_for_is_refused_in_one_line(options, line):
    with pytest.raises(ConfigError, match=f"model.checkpoint must have {line}") as caught:
        join(small_llama(**options))
    assert "\n" not in str(caught.value)


# The command


def test_a_folder_of_llama_becomes_a_checkpoint_of_phi3_that_is_called_so(llama_folder, tmp_path, capsys):
    assert main([str(llama_folder), "--output", str(tmp_path / "made"), "--name", "Small"]) == 0
    told = capsys.readouterr().out
    assert told == f"Small (Phi-3 architecture), {small_llama().num_parameters():,} parameters: {tmp_path / 'made'}\n"
    made = Phi3(checkpoint=str(tmp_path / "made"))
    assert made.name == "Small (Phi-3 architecture)" and Phi3(checkpoint=str(llama_folder)).name == "llama"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "made")
    assert torch.equal(logits(model, text()), logits(small_llama(), text()))


def test_a_model_is_made_once_and_nothing_else_is_overwritten(llama_folder, tmp_path, capsys):
    made, own = tmp_path / "made", tmp_path / "own"
    asked = [str(llama_folder), "--output", str(made)]
    assert main(asked) == 0
    before = (made / "model.safetensors").stat().st_mtime_ns
    assert main(asked) == 0 and (made / "model.safetensors").stat().st_mtime_ns == before
    own.mkdir()
    (own / "thesis.txt").write_text("Four years.")
    capsys.readouterr()
    for wrong in ([*asked, "--name", "Another"], [str(llama_folder), "--output", str(own)]):
        assert main(wrong) == 2
        assert capsys.readouterr().err.startswith("--output must be a new folder, or one that holds this very model")
    assert (own / "thesis.txt").read_text() == "Four years." and json.loads((made / "report.json").read_text())


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (["phi3"], "model.checkpoint must be of Llama's form to be joined into Phi-3's, got 'Phi3ForCausalLM'"),
        (["nowhere.gguf"], "model.checkpoint must be a file that exists"),
        (["broken.gguf"], "model.checkpoint must be readable by transformers"),
        (["./nowhere"], "model.checkpoint must be a directory that exists"),
        (["llama", "--bos", "<|nothing|>"], "--bos must be a token of the tokenizer, got '<|nothing|>'"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_leaves_nothing(asked, line, llama_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_checkpoint("phi3", byte_level_tokenizer())
    Path("broken.gguf").write_bytes(b"GGUF" + bytes(100))
    assert main([*asked, "--output", "made"]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith(line)
    assert not Path("made").exists() and not Path("made.partial").exists()


def test_a_killed_conversion_leaves_no_folder_and_the_next_one_makes_it(llama_folder, tmp_path):
    command = [sys.executable, "-m", "eif_lab", "convert", str(llama_folder), "--output", str(tmp_path / "made")]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None and not (tmp_path / "made.partial").exists():
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL and not (tmp_path / "made").exists()
    assert main(command[4:]) == 0
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "made") and not (tmp_path / "made.partial").exists()


# GGUF


def write_gguf(path, llama, tokenizer):
    """The model as llama.cpp's converter writes it: q and k with the two halves of each head interleaved, in Q8_0."""
    config, weights = llama.config, llama.state_dict()
    writer = GGUFWriter(path, "llama")
    writer.add_license("apache-2.0")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    backend = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(backend["vocab"], key=backend["vocab"].get)
    special = set(tokenizer.all_special_ids)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if number in special else 1 for number in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in backend["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    parts = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output"} | {
        "gate_proj": "ffn_gate",
        "up_proj": "ffn_up",
        "down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    outside = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    for name, weight in weights.items():
        values = weight.numpy()
        if name in outside:
            place = outside[name]
        elif name == "lm_head.weight":
            continue  # tied
        else:
            _, _, layer, *_, part, _ = name.split(".")
            place = f"blk.{layer}.{parts[part]}.weight"
            heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(part)
            if heads:
                values = values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        if values.ndim == 2:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(place, quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(place, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rounded(llama):
    """The model with each matrix as Q8_0 keeps it."""
    kind = GGMLQuantizationType.Q8_0
    with torch.no_grad():
        for weight in llama.parameters():
            if weight.ndim == 2:
                weight.copy_(torch.from_numpy(quants.dequantize(quants.quantize(weight.numpy(), kind), kind)))
    return llama


@pytest.fixture(scope="module")
def from_gguf(tmp_path_factory):
    """A random Llama as a quantised GGUF, and what the command makes of it."""
    folder = tmp_path_factory.mktemp("gguf")
    tokenizer = byte_level_tokenizer()
    llama = small_llama(tie_word_embeddings=True, num_key_value_heads=2, vocab_size=len(tokenizer))
    write_gguf(folder / "tiny.Q8_0.gguf", llama, tokenizer)
    asked = ["--output", str(folder / "made"), "--name", "Tiny", "--bos", "<|endoftext|>", "--origin", "a test"]
    assert main([str(folder / "tiny.Q8_0.gguf"), *asked]) == 0
    return llama, folder


def test_a_quantised_gguf_becomes_a_checkpoint_with_its_weights_dequantised(from_gguf):
    llama, folder = from_gguf
    made = AutoModelForCausalLM.from_pretrained(folder / "made")
    assert type(made) is Phi3ForCausalLM and {weight.dtype for weight in made.parameters()} == {torch.float32}
    assert not hasattr(made.config, "quantization_config") and made.lm_head.weight is made.model.embed_tokens.weight
    torch.testing.assert_close(logits(made, text()), logits(rounded(llama), text()), rtol=1e-4, atol=1e-4)


def test_a_ggufs_tokenizer_is_kept_but_for_the_bos_that_was_asked_for(from_gguf):
    _, folder = from_gguf
    made, tokenizer = AutoTokenizer.from_pretrained(folder / "made"), byte_level_tokenizer()
    for sentence in (" a dax is a blick .", " What's 1234?"):
        assert made(sentence, add_special_tokens=False)["input_ids"] == tokenizer(sentence.strip())["input_ids"]
        assert made.decode(made(sentence)["input_ids"]) == sentence
    assert (made.bos_token, made.eos_token, made.pad_token) == ("<|endoftext|>", "<|endoftext|>", "<|pad|>")
    assert (
        made.convert_tokens_to_ids(made.bos_token)
        == AutoModelForCausalLM.from_pretrained(folder / "made").config.bos_token_id
    )


def test_the_card_says_where_a_model_is_from_and_how_it_was_quantised(from_gguf):
    _, folder = from_gguf
    card, source = (folder / "made/README.md").read_text(), folder / "tiny.Q8_0.gguf"
    digest = subprocess.run(["sha256sum", source], capture_output=True, text=True, check=True).stdout.split()[0]
    for line in (
        "license: apache-2.0",
        "# Tiny (Phi-3 architecture)",
        "- Origin: a test",
        "- File: tiny.Q8_0.gguf",
        f"- SHA-256: {digest}",
        "- Licence: apache-2.0",
        "- Quantisation: Q8_0 (15 tensors), F32 (5 tensors)",
    ):
        assert line in card.splitlines()


def test_a_made_models_name_is_shown_wherever_a_job_is(from_gguf, tmp_path, monkeypatch, capsys):
    _, folder = from_gguf
    monkeypatch.chdir(tmp_path)
    given = f"model=phi3 model.checkpoint={folder / 'made'} dataset.worlds=2 dataset.stimuli_per_world=1 tracker=csv"
    learnt = "model.teaching.steps=1 model.minimum_background_accuracy=0 update.learning_rate=0.01 hydra.run.dir=job"
    assert dispatch.main([*given.split(), *learnt.split()]) == 0
    name = "Tiny (Phi-3 architecture)"
    printed = " ".join(capsys.readouterr().out.split())
    results = open_results("job")
    assert name in printed and results.manifest.base_model.name == name and results.influence.attrs["model"] == name
    assert (
        results.manifest.base_model.parameters == AutoModelForCausalLM.from_pretrained(folder / "made").num_parameters()
    )
    assert model_title(results) == name
    assert dispatch.main(["report", "job"]) == 0 and name in Path("job/report.html").read_text()
    [taught] = Path("outputs/cache/models").glob("*-taught-*[0-9a-f]")
    assert taught.name.startswith("made-taught-")  # a folder is called by the checkpoint's


def test_without_the_package_gguf_one_line_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setattr("eif_lab.models.language.gguf.find_spec", lambda name: None)
    assert main([str(tmp_path / "tiny.gguf"), "--output", str(tmp_path / "made")]) == 2
    assert "pip install 'eif-lab[gguf]'" in capsys.readouterr().err

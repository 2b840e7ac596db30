"""One's own images: read as they are seen, held out by class, and a network that follows their shape."""

import os
import struct
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from eif_lab.data.images.image_folder import ImageFolder
from eif_lab.errors import ConfigError
from eif_lab.models.cnn import CNN


@pytest.fixture
def folder(tmp_path):
    """Eight reddish and eight bluish pictures of several sizes and formats, one of them a folder deeper."""
    random = np.random.default_rng(0)
    for name, channel in (("red", 0), ("blue", 2)):
        for number in range(8):
            size = (9 + number, 12)
            pixels = random.integers(0, 60, (*size, 3), dtype=np.uint8)
            pixels[..., channel] += 190
            place = tmp_path / "pictures" / name / ("more" if number == 7 else "")
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{number}.{'png' if number % 2 else 'jpg'}")
    (tmp_path / "pictures" / "red" / ".DS_Store").write_text("no image")
    (tmp_path / "pictures" / ".cache").mkdir()
    return tmp_path / "pictures"


def options(folder, **given):
    return ImageFolder(path=str(folder), **{"size": [8, 10], "stimuli": 6, "probes": 8, **given})


def test_images_are_those_of_the_files(folder):
    task = options(folder, colour=True).load(0)
    for name, pixels, label in zip(task.probes.ids, task.probes.pixels, task.probes.labels):
        assert task.probes.classes[label] == name.split("/")[0]
        with Image.open(folder / name) as image:
            expected = np.asarray(image.resize((10, 8), Image.Resampling.BILINEAR)) / 255
        np.testing.assert_allclose(pixels.permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_identity_follows_the_contents_and_the_places(folder):
    """Whatever the clock says: a picture may be replaced, or two may change places, under their own sizes and times."""
    one, two = folder / "red" / "1.png", folder / "red" / "3.png"
    before = options(folder).identity()
    content, state = one.read_bytes(), one.stat()
    one.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(one, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert options(folder).identity() != before
    one.write_bytes(content)
    os.utime(one, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert options(folder).identity() == before
    two.rename(folder / "red" / "more" / "3.png")
    assert options(folder).identity() != before


def test_grey_is_the_luminance_of_the_colours(folder):
    grey, colour = (options(folder, colour=colour).load(0).probes.pixels for colour in (False, True))
    assert grey.shape == (8, 1, 8, 10) and colour.shape == (8, 3, 8, 10)
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # ITU-R 601, which Pillow documents
    assert torch.allclose(grey[:, 0], (colour * weights).sum(1), atol=2 / 255)


def test_one_in_two_of_each_class_is_held_out_and_never_trained_on(folder):
    task = options(folder, stimuli=8).load(1)
    held, trained = set(task.stimuli.ids), set(task.training.ids)
    assert len(held) == len(trained) == 8 and not held & trained
    for name in ("red", "blue"):
        assert sum(one.startswith(name) for one in held) == 4
    assert set(options(folder, stimuli=8).load(2).stimuli.ids) != held


def test_the_network_follows_the_images(folder, tmp_path, monkeypatch):
    # Lightning alone takes ten seconds to import
    untrained = SimpleNamespace(train=lambda *_, **__: 0.0, remaining_batches=lambda batches: batches)
    monkeypatch.setitem(sys.modules, "eif_lab.models.training", untrained)
    task = options(folder, size=[13, 7], colour=True).load(0)
    base = CNN(channels=[4, 4], hidden=8).prepare(task, tmp_path / "cache", 0, "cpu")
    pixels, labels = base.encode(task.probes)
    assert base.module(pixels).shape == (len(labels), 2)
    assert base.module.hidden.in_features == 4 * (13 // 4) * (7 // 4)
    assert not torch.equal(base.module(pixels), base.module(pixels.flip(1)))  # colours are seen


def test_an_image_too_small_for_the_blocks_is_told(folder, tmp_path):
    task = options(folder, size=[3, 20]).load(0)
    with pytest.raises(ConfigError, match=r"model.channels must have at most 1 blocks"):
        CNN(channels=[4, 4]).prepare(task, tmp_path, 0, "cpu")


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n\x00\x00", b"II*\x00"])
def test_a_file_that_is_no_image_is_named(folder, content):
    (folder / "blue" / "notes.png").write_bytes(content)
    with pytest.raises(
        ConfigError, match=r"dataset.path must hold images only \(.*, got '.*notes.png'. Remove"
    ) as caught:
        options(folder).load(0)
    assert "\n" not in str(caught.value)


def test_a_truncated_image_is_named(folder):
    whole = (folder / "red" / "3.png").read_bytes()
    (folder / "red" / "3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"dataset.path must hold images only .*3.png"):
        options(folder).load(0)


def test_sixteen_bits_are_refused_rather_than_clipped(folder):
    Image.fromarray(np.full((9, 9), 40000, dtype=np.uint16)).save(folder / "red" / "deep.png")
    with pytest.raises(ConfigError, match=r"more than 8 bits a channel.*deep.png"):
        options(folder).load(0)


def png(width, height):
    """A picture that says how large it is, and has next to nothing in it."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(99))))
    chunks = (
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (20_000, 20_000), (10_000, 10_000)])
def test_a_picture_that_would_fill_the_memory_is_refused_by_its_declared_size(folder, size):
    (folder / "red" / "bomb.png").write_bytes(png(*size))
    with pytest.raises(ConfigError, match=r"dataset.path must hold images only \(Image size .*bomb.png"):
        options(folder).load(0)


def test_a_format_that_starts_other_programs_is_not_decoded(folder):
    """Pillow gives PostScript to Ghostscript."""
    (folder / "red" / "page.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(ConfigError, match=r"\(cannot identify image file .*page.png"):
        options(folder).load(0)


def seen(folder, image, name="it.png", **saved):
    """What becomes of a picture that is saved in the folder: (channels, 8, 8)."""
    image.save(folder / name, **saved)
    return ImageFolder(path=str(folder), size=[8, 8], colour=True)._pixels(folder / name)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright_as_its_exif_data_say(tmp_path, orientation):
    picture = Image.new("L", (8, 8))
    picture.paste(255, (0, 0, 4, 2))  # a mark that no turn and no mirror leaves as it is
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = picture.transpose(undo[orientation]) if orientation in undo else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert torch.equal(seen(tmp_path, stored, exif=exif), seen(tmp_path, picture))


@pytest.mark.parametrize(
    ("picture", "saved"),
    [
        (Image.new("RGBA", (8, 8), (0, 0, 0, 0)), {}),
        (Image.new("LA", (8, 8), (0, 0)), {}),
        (Image.new("P", (8, 8)), {"transparency": 0}),
        (Image.new("L", (8, 8)), {"transparency": 0}),
        (Image.new("RGB", (8, 8)), {"transparency": (0, 0, 0)}),
    ],
    ids=lambda value: getattr(value, "mode", None),
)
def test_what_is_transparent_is_white(tmp_path, picture, saved):
    assert seen(tmp_path, picture, **saved).eq(1).all()


def test_what_is_half_transparent_is_half_white_and_what_is_opaque_as_it_is(tmp_path):
    half, opaque = (seen(tmp_path, Image.new("RGBA", (8, 8), (255, 0, 0, alpha)))[:, 0, 0] for alpha in (128, 255))
    assert torch.allclose(half, torch.tensor([1, 0.5, 0.5]), atol=1 / 255)
    assert torch.equal(opaque, torch.tensor([1.0, 0, 0]))


def test_of_an_animation_the_first_picture_is_taken(tmp_path):
    white, black = (Image.new("L", (8, 8), shade) for shade in (255, 0))
    assert seen(tmp_path, white, "it.gif", save_all=True, append_images=[black]).eq(1).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_pictures_of_every_sort_of_colours_are_read(tmp_path, mode):
    picture = Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode)
    assert seen(tmp_path, picture, "it.tif").eq(1).all()


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", b"\x1b[31mred"])
def test_a_name_that_cannot_be_written_or_told_in_a_line_is_refused(folder, name):
    os.rename(folder / "blue", os.fsencode(folder) + b"/" + name)
    with pytest.raises(ConfigError, match=r"dataset.path must hold names in UTF-8, each in one line, got") as caught:
        options(folder).load(0)
    assert str(caught.value).isprintable()


def test_absent_folders_and_too_few_images_are_told_in_one_line(folder, tmp_path):
    for path in (None, str(tmp_path / "absent"), str(folder / "red" / "more")):
        with pytest.raises(ConfigError, match=r"dataset.path must be a folder with at least two folders"):
            ImageFolder(path=path).load(0)
    (folder / "green").mkdir()
    with pytest.raises(ConfigError, match=r"dataset.path must have at least two images in 'green', got 0"):
        options(folder).load(0)
    with pytest.raises(ConfigError, match=r"dataset.size must be a height and a width, got \[28\]"):
        ImageFolder(path=str(folder), size=[28])


def test_identity_changes_with_a_file(folder):
    before = options(folder).identity()
    (folder / "red" / "1.png").write_bytes((folder / "red" / "3.png").read_bytes() + b"x")
    assert options(folder).identity() != before
    assert ImageFolder().identity() == []

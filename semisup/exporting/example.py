"""A script that labels an image with an exported file, without semisup."""

from __future__ import annotations

import textwrap

from semisup.ops.pixels import GREY, RGB, ImageKind

_HEADS = {
    "onnx": '''\
        """Label an image with {name}: pip install onnxruntime pillow numpy.

        python {script} IMAGE.jpg MASK.png
        """

        import json
        import sys
        from pathlib import Path

        import numpy as np
        import onnxruntime
        from PIL import Image, ImageOps

        network = onnxruntime.InferenceSession(Path(__file__).with_name("{name}"))
        facts = network.get_modelmeta().custom_metadata_map
        palette = json.loads(facts["palette"])
''',
    "torch": '''\
        """Label an image with {name}: pip install torch pillow numpy.

        python {script} IMAGE.jpg MASK.png
        """

        import json
        import sys
        from pathlib import Path

        import numpy as np
        import torch
        from PIL import Image, ImageOps

        texts = {{"semisup.json": ""}}
        with Path(__file__).with_name("{name}").open("rb") as file:
            network = torch.export.load(file, extra_files=texts).module()
        palette = json.loads(texts["semisup.json"])["palette"]
''',
}

_RUNS = {
    "onnx": '(labels,) = network.run(["labels"], {"image": pixels})',
    "torch": "labels = network(torch.from_numpy(pixels))[1].numpy()",
}


def example(
    kind: str,
    name: str,
    script: str,
    images: ImageKind,
    size: tuple[int, int] | None,
    *,
    volumes: bool = False,
    apply_exif: bool = True,
) -> str:
    """The text of the script, which lies beside the file.

    Args:
        kind: of the file, "onnx" or "torch".
        name: of the file.
        script: name of the script.
        images: channels and bits.
        size: H and W of the images; None: any.
        volumes: whether the file takes volumes: the script then labels a folder of slices.
        apply_exif: whether a photograph is turned as its EXIF orientation says.
    """
    head = textwrap.dedent(_HEADS[kind]).format(name=name, script=script)
    body = _volume(kind) if volumes else _image(kind, images, size, apply_exif=apply_exif)
    if volumes:
        head = head.replace("IMAGE.jpg MASK.png", "FOLDER-OF-SLICES FOLDER-OF-MASKS")
        head = head.replace("Label an image", "Label a stack of slices")
        head = head.replace("import json\n", "import json\nimport re\n")
    if volumes or not apply_exif or images not in (RGB, GREY):
        head = head.replace("Image, ImageOps", "Image")
    if not volumes and images not in (RGB, GREY):
        head = head.replace("IMAGE.jpg", "IMAGE.npy")
    return head + "\n" + body


def _image(kind: str, images: ImageKind, size: tuple[int, int] | None, *, apply_exif: bool) -> str:
    if images in (RGB, GREY):
        opened = "Image.open(sys.argv[1])"
        opened = f"ImageOps.exif_transpose({opened})" if apply_exif else opened
        lines = [f'image = {opened}.convert("{"RGB" if images == RGB else "L"}")']
        planes = "np.moveaxis(np.array(image), -1, 0)" if images == RGB else "np.array(image)[None]"
        if size is None:
            lines.append(f"pixels = {planes}[None]  # uint8, 1CHW")
        else:
            height, width = size
            lines.append("original = image.size")
            lines.append(f"image = image.resize(({width}, {height}))  # the only size it takes")
            lines.append(f"pixels = {planes}[None]  # uint8, 1CHW")
    else:
        lines = [f"pixels = np.load(sys.argv[1])[None]  # {images}: 1CHW, uint{images.bits}"]
        if size is not None:
            lines.append(f"assert pixels.shape[2:] == {size}, 'the only size it takes'")
    lines.append(_RUNS[kind])
    lines.append("mask = Image.fromarray(labels[0])")
    if size is not None and images in (RGB, GREY):
        lines.append("mask = mask.resize(original, Image.Resampling.NEAREST)")
    lines.append('mask.putpalette(np.array(palette, "uint8").tobytes())')
    lines.append("mask.save(sys.argv[2])")
    return "\n".join(lines) + "\n"


def _volume(kind: str) -> str:
    lines = [
        "numbers = lambda path: [int(number) for number in re.findall('[0-9]+', path.name)]",
        "paths = sorted(Path(sys.argv[1]).iterdir(), key=numbers)  # slice 2 before slice 10",
        "slices = np.stack([np.array(Image.open(path)) for path in paths])",
        "volume = slices[None] if slices.ndim == 3 else np.moveaxis(slices, -1, 0)  # CDHW",
        "pixels = volume[None]",
        _RUNS[kind],
        "for path, plane in zip(paths, labels[0], strict=True):",
        "    mask = Image.fromarray(plane)",
        '    mask.putpalette(np.array(palette, "uint8").tobytes())',
        '    mask.save(Path(sys.argv[2]) / f"{path.stem}.png")',
    ]
    return "\n".join(lines) + "\n"

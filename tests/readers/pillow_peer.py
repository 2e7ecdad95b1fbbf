"""Makes pictures of all kinds below FOLDER, and what Pillow and NumPy make of each as a sample: cases.json and *.npy.

The steps are those of the tool that this program replaces: the colours, the size, the order of channels, the type.
Pillow before 13 goes along the rows first, which is the order that we keep.
"""

import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

folder = Path(sys.argv[1])
random = np.random.default_rng(5)
cases = []


def noise(*shape):
    return random.integers(0, 256, shape, dtype=np.uint8)


def smooth(height, width):
    """A picture like a photo: slopes, edges and a little noise."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.sin(x / 17 + c) * 60 + np.cos(y / 23 * (c + 1)) * 50 + 128 for c in range(3)]
    picture = np.stack(planes, -1) + random.normal(0, 4, (height, width, 3))
    picture[height // 3 : height // 2, width // 4 : width // 2] += 70
    return np.clip(picture, 0, 255).astype(np.uint8)


def png(path, samples, bits, kind, interlaced=False):
    """Writes kinds of PNG that Pillow does not: 16 bits of colour, and Adam7."""
    height, width = samples.shape[:2]

    def lines(part):
        part = part.astype(">u2" if bits == 16 else "u1")
        return b"".join(b"\0" + row.tobytes() for row in part)

    if interlaced:
        steps = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        parts = [samples[y::dy, x::dx] for y, x, dy, dx in steps]
        data = b"".join(lines(part) for part in parts if part.size)
    else:
        data = lines(samples)

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    )


def prepared(picture, size, method, colours):
    width, height = size
    picture = picture.convert({"RGB": "RGB", "BGR": "RGB", "GRAY": "L"}.get(colours, picture.mode))
    if method == "RESIZE":
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    elif method == "CROP":
        left, top = int(picture.width / 2 - width / 2), int(picture.height / 2 - height / 2)
        picture = picture.crop((left, top, left + width, top + height))
    else:
        if picture.width / picture.height > width / height:
            inner = (width, max(1, round(picture.height * (width / picture.width))))
        else:
            inner = (max(1, round(picture.width * (height / picture.height))), height)
        canvas = Image.new(picture.mode, size, "black")
        canvas.paste(picture.resize(inner, Image.Resampling.BICUBIC), ((width - inner[0]) // 2, (height - inner[1]) // 2))
        picture = canvas
    array = np.asarray(picture)
    array = array[..., None] if array.ndim == 2 else array
    return array[..., ::-1] if colours == "BGR" else array


LAYOUTS = {"NCHW": (2, 0, 1), "NHWC": (0, 1, 2), "CHW": (2, 0, 1), "HWC": (0, 1, 2), "NCWH": (2, 1, 0)}


def case(path, picture, size, method, colours, layout="NCHW", data_type="uint8"):
    """What `picture`, as Pillow has it, becomes; `path` is what we read."""
    array = prepared(picture, size, method, colours).transpose(LAYOUTS[layout])
    array = np.ascontiguousarray(array[None] if layout.startswith("N") else array).astype(data_type)
    expected = folder / f"{len(cases)}.npy"
    np.save(expected, array)
    cases.append(
        {
            "file": str(path),
            "shape": array.shape,
            "layout": layout,
            "encoding": colours,
            "resize": method,
            "data_type": data_type,
            "expected": str(expected),
        }
    )


def save(name, picture, **options):
    picture.save(folder / name, **options)
    return folder / name, Image.open(folder / name)


# Sizes: up, down, one pixel, one row, one column; all methods and colours, layouts and types in turn.
layouts, types = list(LAYOUTS), ["uint8", "float32", "int8", "float16", "uint16"]
for width, height in [(1, 1), (1, 40), (40, 1), (3, 5), (37, 29), (224, 224), (401, 150)]:
    path, picture = save(f"{width}x{height}.png", Image.fromarray(noise(height, width, 3)))
    for size in [(1, 1), (3, 5), (64, 48), (224, 224)]:
        for method in ["RESIZE", "CROP", "PAD"]:
            for colours in ["RGB", "BGR", "GRAY"]:
                case(path, picture, size, method, colours, layouts[len(cases) % 5], types[len(cases) // 5 % 5])

# Kinds of pictures.
colour = Image.fromarray(smooth(61, 83))
opacity = Image.fromarray(noise(61, 83))
transparent = colour.copy()
transparent.putalpha(opacity)
gray_alpha = Image.merge("LA", (colour.convert("L"), opacity))
palette = colour.quantize(40)
see_through = palette.copy()
see_through.info["transparency"] = 3
kinds = [
    save("palette.png", palette),
    save("see-through.png", see_through),
    save("two-bits.png", colour.quantize(4), bits=2),
    save("one-bit.png", colour.convert("1")),
    save("gray.png", colour.convert("L")),
    save("gray-alpha.png", gray_alpha),
    save("rgba.png", transparent),
    save("colour.bmp", colour),
    save("palette.bmp", palette),
    save("gray.bmp", colour.convert("L")),
    save("colour.tiff", colour),
    save("lzw.tif", colour, compression="tiff_lzw"),
    save("deflate.TIF", colour, compression="tiff_adobe_deflate"),
    save("gray.tiff", colour.convert("L")),
    save("lossless.webp", colour, lossless=True),
    save("transparent.webp", transparent, lossless=True, exact=True),
    save("animated.gif", palette, save_all=True, append_images=[palette.rotate(90)]),
]
wide = random.integers(0, 65536, (61, 83, 3), dtype=np.uint16)
png(folder / "wide.png", wide, 16, 2)
kinds.append((folder / "wide.png", Image.fromarray((wide >> 8).astype(np.uint8))))
png(folder / "wide-gray.png", wide[..., 0], 16, 0)
kinds.append((folder / "wide-gray.png", Image.fromarray((wide[..., 0] >> 8).astype(np.uint8))))
Image.fromarray(wide[..., 0]).save(folder / "wide-gray.tiff")
kinds.append((folder / "wide-gray.tiff", Image.fromarray((wide[..., 0] >> 8).astype(np.uint8))))
png(folder / "interlaced.png", smooth(61, 83), 8, 2, interlaced=True)
kinds.append((folder / "interlaced.png", Image.open(folder / "interlaced.png")))
# A name that lies about the format.
(folder / "really-png.jpg").write_bytes((folder / "palette.png").read_bytes())
kinds.append((folder / "really-png.jpg", Image.open(folder / "really-png.jpg")))
# Taken as it is stored, not as EXIF says.
turned = Image.Exif()
turned[0x0112] = 6
kinds.append(save("turned.png", colour, exif=turned))
for path, picture in kinds:
    for method, colours in [("RESIZE", "BGR"), ("CROP", "GRAY"), ("PAD", "RGB")]:
        case(path, picture, (50, 70), method, colours)
# As they are stored: gray with one channel, colours with three, opacity with four.
for name, picture in [("gray.png", colour.convert("L")), ("colour.bmp", colour), ("rgba.png", transparent)]:
    for method in ["RESIZE", "CROP", "PAD"]:
        case(folder / name, picture, (50, 97), method, "NONE", "NHWC")
case(folder / "palette.png", palette.convert("RGBA"), (83, 61), "RESIZE", "NONE", "CHW")

# JPEG and lossy WebP: every rounding of libjpeg and libwebp.
photo = Image.fromarray(smooth(240, 320))
lossy = [
    save("progressive.jpeg", photo, quality=75, progressive=True),
    save("optimised.jpg", photo, quality=95, optimize=True),
    save("restarts.JPG", photo, quality=80, restart_marker_blocks=3),
    save("restarts-progressive.jpg", photo, quality=80, progressive=True, restart_marker_rows=2),
    save("red-green-blue.jpg", photo, quality=80, keep_rgb=True),
    save("gray.jpg", photo.convert("L"), quality=80),
    save("gray-progressive.jpg", photo.convert("L"), quality=30, progressive=True),
    save("cmyk.jpg", photo.convert("CMYK"), quality=90),
    save("lossy.webp", photo, quality=80),
]
for width, height in [(1, 1), (2, 2), (3, 3), (4, 2), (5, 17), (16, 16), (17, 33), (211, 133)]:
    for content in [smooth(height, width), noise(height, width, 3)]:
        for subsampling in range(3):
            for quality in [3, 60, 98]:
                options = {"quality": quality, "subsampling": subsampling, "progressive": quality == 60}
                name = f"{width}x{height}-{len(lossy)}.jpg"
                lossy.append(save(name, Image.fromarray(content), **options))
# Ratios that Pillow reads and does not write. Groups have as many blocks as before; what was in them lands elsewhere.
for before, after, subsampling in [(0x21, 0x12, 1), (0x22, 0x41, 2), (0x22, 0x14, 2)]:
    path, _ = save(f"ratio-{after:x}.jpg", photo.crop((0, 0, 64, 64)), quality=80, subsampling=subsampling)
    content = bytearray(path.read_bytes())
    frame = content.index(b"\xff\xc0") + 11
    assert content[frame] == before
    content[frame] = after
    path.write_bytes(content)
    lossy.append((path, Image.open(path)))
# Inks that are turned like YCbCr: Adobe's segment says so.
content = bytearray((folder / "cmyk.jpg").read_bytes())
adobe = content.index(b"Adobe") + 11
assert content[adobe] == 0
content[adobe] = 2
(folder / "ycck.jpg").write_bytes(content)
lossy.append((folder / "ycck.jpg", Image.open(folder / "ycck.jpg")))
for path, picture in lossy:
    case(path, picture, picture.size, "RESIZE", "GRAY" if picture.mode == "L" else "RGB")
case(folder / "restarts.JPG", Image.open(folder / "restarts.JPG"), (100, 100), "PAD", "BGR")

json.dump(cases, (folder / "cases.json").open("w"))

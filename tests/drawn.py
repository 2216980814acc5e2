"""Pictures and clips of rigs with known truth, drawn by the tests themselves.

Shapes are drawn by their exact coverage of each pixel (to first order in the edge), in OpenCV's
pixel convention; colours pass to YUV 4:2:0 with a known place of the chroma samples.
"""

from fractions import Fraction

import av
import cv2
import numpy as np

from rulerlab.video import Frame

GREEN, RED, WOOD = (20, 170, 60), (205, 35, 45), (196, 164, 120)


def paper(width=480, height=270, *, shade=0.1):
    """A sheet under uneven light, (H, W, 3) float RGB."""
    x = np.linspace(-1, 1, width)[None, :, None]
    y = np.linspace(-1, 1, height)[:, None, None]
    return np.array([226.0, 224.0, 218.0]) * (1 - shade * (0.5 + 0.3 * x + 0.2 * y))


def _blend(canvas, left, top, cover, colour):
    rows, columns = cover.shape
    part = canvas[top : top + rows, left : left + columns]
    cover = cover[: part.shape[0], : part.shape[1], None]
    part += cover * (np.array(colour, float) - part)


def _window(canvas, low, high):
    height, width = canvas.shape[:2]
    left, top = np.maximum(np.floor(low).astype(int) - 2, 0)
    right, bottom = np.minimum(np.ceil(high).astype(int) + 3, [width, height])
    x, y = np.meshgrid(np.arange(left, max(right, left)), np.arange(top, max(bottom, top)))
    return left, top, x, y


def disc(canvas, centre, radius, colour):
    centre = np.asarray(centre, float)
    left, top, x, y = _window(canvas, centre - radius, centre + radius)
    cover = np.clip(radius + 0.5 - np.hypot(x - centre[0], y - centre[1]), 0, 1)
    _blend(canvas, left, top, cover, colour)


def quad(canvas, corners, colour):
    """A convex polygon; corners clockwise on the screen."""
    corners = np.asarray(corners, float)
    left, top, x, y = _window(canvas, corners.min(0), corners.max(0))
    cover = np.ones(x.shape)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = (b - a) / np.linalg.norm(b - a)
        inside = along[0] * (y - a[1]) - along[1] * (x - a[0])
        cover *= np.clip(inside + 0.5, 0, 1)
    _blend(canvas, left, top, cover, colour)


def bar(canvas, start, end, width, colour):
    start, end = np.asarray(start, float), np.asarray(end, float)
    along = (end - start) / np.linalg.norm(end - start)
    side = 0.5 * width * np.array([-along[1], along[0]])
    quad(canvas, [start - side, end - side, end + side, start + side], colour)


def cross(canvas, centre, size, width=5):
    for unit in np.eye(2):
        bar(canvas, centre - 0.5 * size * unit, centre + 0.5 * size * unit, width, (25, 25, 25))


def tag(canvas, number, centre, size, *, turn=0.0, dictionary="DICT_4X4_50"):
    """An ArUco tag of `size` px with a white margin, turned clockwise by `turn` rad."""
    book = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))
    modules = book.markerSize + 2
    pattern = cv2.aruco.generateImageMarker(book, int(number), modules) > 127
    step = size / modules
    axes = step * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    origin = np.asarray(centre, float) - modules / 2 * axes.sum(0)

    def square(low, high):
        at = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
        return origin + np.array(at, float) @ axes

    quad(canvas, square((-1, -1), (modules + 1, modules + 1)), (240, 240, 240))
    quad(canvas, square((0, 0), (modules, modules)), (15, 15, 15))
    for row in range(modules):  # runs of white modules as one piece: no seams
        column = 0
        while column < modules:
            run = column
            while run < modules and pattern[row, run]:
                run += 1
            if run > column:
                quad(canvas, square((column, row), (run, row + 1)), (240, 240, 240))
            column = max(run, column + 1)
    return square((0, 0), (modules, modules))


def planes(canvas, *, siting=0.0, noise=0.0, rng=None, full_range=False):
    """Y, U, V as uint8; chroma samples on even luma columns (`siting` 0) or between two (0.5)."""
    red, green, blue = np.moveaxis(canvas, -1, 0) / 255
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    u, v = (blue - luma) / 1.772, (red - luma) / 1.402
    if siting == 0.5:
        u, v = (0.5 * (c[:, ::2] + c[:, 1::2]) for c in (u, v))
    else:
        u, v = (
            (0.25 * (p := np.pad(c, ((0, 0), (1, 1)), "edge"))[:, :-2]
             + 0.5 * p[:, 1:-1] + 0.25 * p[:, 2:])[:, ::2]
            for c in (u, v)
        )
    u, v = (0.5 * (c[::2] + c[1::2]) for c in (u, v))
    scaled = [255 * luma, 128 + 255 * u, 128 + 255 * v] if full_range else [
        16 + 219 * luma, 128 + 224 * u, 128 + 224 * v]
    if noise:
        scaled = [c + (noise if k == 0 else 0.5 * noise) * rng.standard_normal(c.shape)
                  for k, c in enumerate(scaled)]
    return [np.clip(np.rint(c), 0, 255).astype(np.uint8) for c in scaled]


def frame(canvas, index=0, time_s=0.0, **how):
    return Frame(index, time_s, *planes(canvas, **how))


def _filled(picture, values):
    for plane, part in zip(picture.planes, values, strict=False):
        room = np.full((plane.height, plane.line_size), 128, np.uint8)
        rows, columns = min(part.shape[0], len(room)), min(part.shape[1], room.shape[1])
        room[:rows, :columns] = part[:rows, :columns]
        plane.update(room)
    return picture


def write_clip(path, canvases, time_s, *, crf=12, codec="libx264", pixels="yuv420p", flags="",
               siting=0.0, noise=1.0, seed=0, full_range=False, gop=None):
    """Encode pictures with their own times; returns the path."""
    rng = np.random.default_rng(seed)
    container = av.open(str(path), "w", options={"movflags": flags} if flags else {})
    stream = container.add_stream(codec, rate=Fraction(30))
    tick = Fraction(1, 30_000) if codec == "mpeg4" else Fraction(1, 90_000)
    stream.codec_context.time_base = stream.time_base = tick
    stream.pix_fmt = pixels
    stream.options = {"crf": str(crf), "preset": "veryfast"} if codec == "libx264" else {}
    if codec in ("mjpeg", "mpeg4"):
        stream.bit_rate = 20_000_000
    if gop:
        stream.codec_context.gop_size = gop
    for number, (canvas, at) in enumerate(zip(canvases, time_s, strict=True)):
        if number == 0:
            stream.height, stream.width = canvas.shape[:2]
        even = np.pad(canvas, ((0, canvas.shape[0] % 2), (0, canvas.shape[1] % 2), (0, 0)), "edge")
        values = planes(even, siting=siting, noise=noise, rng=rng, full_range=full_range)
        picture = _filled(av.VideoFrame(canvas.shape[1], canvas.shape[0], "yuv420p"), values)
        if pixels != "yuv420p":
            picture = picture.reformat(format=pixels)
        if full_range:
            picture.color_range = 2
            stream.codec_context.color_range = 2
        picture.pts, picture.time_base = round(at / tick), tick
        container.mux(stream.encode(picture))
    container.mux(stream.encode())
    container.close()
    return path


def turned_upright_by(path, quarter_turns):
    """Write into an mp4 that a player has to turn the picture clockwise, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    cos, sin = {1: (0, 1), 2: (-1, 0), 3: (0, -1)}[quarter_turns % 4]
    matrix = [cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join(int(v).to_bytes(4, "big", signed=True) for v in matrix)
    path.write_bytes(data)
    return path


# --- rigs in motion ---------------------------------------------------------------------------

def ruler_joints(opening, sections, *, start=(0.0, 0.0)):
    """Joints (N, 2) of a zig-zag, mm, y up: every section leans by `opening` (rad) from upright,
    one number or one per section."""
    opening = np.broadcast_to(opening, len(sections))
    way = np.where(np.arange(len(sections)) % 2, -1.0, 1.0)
    link = np.asarray(sections)[:, None] * np.stack([np.sin(opening), way * np.cos(opening)], -1)
    return np.concatenate([[start], start + np.cumsum(link, axis=0)])


def pulled_ruler(frames, sections, *, rest=6, folded=0.16, opened=0.5):
    """(T, N, 2) joints of a ruler that rests, is pulled open (far end first), and is held."""
    ramp = np.clip((np.arange(frames) - rest) / max(frames - rest - 6, 1), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    share = np.linspace(0.35, 1.0, len(sections))
    return np.array([ruler_joints(folded + (opened - folded) * r * share, sections) for r in ramp])


def pulled_blocks(frames, points, *, gap=50.0, stretch=9.0, rest=6, shake=0.0, seed=1):
    """(T, N, 2) blocks on a rail; the spring at the pulled end opens most."""
    ramp = np.clip((np.arange(frames) - rest) / max(frames - rest - 6, 1), 0, 1)
    load = gap + stretch * ramp[:, None] * np.linspace(0.2, 1.0, points - 1)
    x = np.concatenate([np.zeros((frames, 1)), np.cumsum(load, axis=1)], axis=1)
    if shake:
        x[:, 1:] += shake * np.random.default_rng(seed).standard_normal((frames, points - 1))
    return np.stack([x, np.zeros_like(x)], -1)

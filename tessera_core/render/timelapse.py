"""Years as a moving picture: a GIF that every browser and slide show plays, with the year written on each frame."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIDE = 640
SECONDS = 1.0
_BAND = 0.07


def timelapse(
    frames: Sequence[NDArray[np.uint8]], titles: Sequence[str], *, seconds: float = SECONDS, side: int = SIDE
) -> bytes:
    """Frames as an endless GIF.

    Args:
        frames: uint8 (H, W, 3), equal shapes, in order.
        titles: written on each frame's top left.
        seconds: each frame stays.
        side: pixels of the longer side of the GIF; larger scenes are thinned, smaller ones enlarged by whole factors.

    Raises:
        ValueError: no frames, or not as many titles.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not frames or len(frames) != len(titles):
        raise ValueError("A timelapse needs at least one frame and a title for each.")
    longest = max(frames[0].shape[:2])
    step, zoom = max(1, -(-longest // side)), max(1, side // longest)
    images = []
    for frame, title in zip(frames, titles, strict=True):
        picture = frame[::step, ::step].repeat(zoom, 0).repeat(zoom, 1)
        image = Image.fromarray(picture)
        size = max(12, round(_BAND * max(image.size)))
        font = ImageFont.load_default(size)
        draw = ImageDraw.Draw(image)
        draw.text(
            (size // 2, size // 3), title, fill="white", font=font, stroke_width=max(1, size // 10), stroke_fill="black"
        )
        # One palette of 256 colours for each frame, without dithering, so that class colours stay flat.
        images.append(image.quantize(256, dither=Image.Dither.NONE))
    file = io.BytesIO()
    images[0].save(
        file, "GIF", save_all=True, append_images=images[1:], duration=round(1000 * seconds), loop=0, disposal=1
    )
    return file.getvalue()

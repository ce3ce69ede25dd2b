"""Makes the sample lesson that ships in ``session_tracker/web/media``: pictures, text, a tone.

    python deploy/sample_lesson.py [FOLDER]

Four minutes, eight slides, in two containers: WebM (VP8, Opus) and MP4 (H.264 baseline, AAC) for
telephones that play no WebM. The same input gives the same pictures; the files are committed, so
that nobody needs a Chinese font to install Benren. Needs Pillow and PyAV, which come along, and a
Noto Sans CJK font.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, FPS = 640, 360, 5
SLIDE_S = 30
LINE_EVERY_S = 7
SAMPLE_RATE, BLOCK = 48_000, 960
FONT = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
PAPER, INK, QUIET, GREEN, AMBER, RED = (
    "#f7f5ef", "#16211d", "#5d6a64", "#0b5c4a", "#b86e00", "#a3261f",
)  # fmt: skip
Pencil = ImageDraw.ImageDraw


@dataclass(frozen=True, slots=True, kw_only=True)
class Slide:
    """One slide: a title, a picture, and lines that appear one after the other."""

    title: tuple[str, str]
    lines: tuple[tuple[str, str], ...]
    draw: Callable[[Pencil], None]


def _clock(pen: Pencil) -> None:
    pen.ellipse((470, 120, 610, 260), outline=GREEN, width=8)
    pen.line((540, 190, 540, 140), fill=INK, width=7)
    pen.line((540, 190, 580, 205), fill=INK, width=7)


def _helmet(pen: Pencil) -> None:
    pen.pieslice((470, 125, 610, 265), 180, 360, fill=AMBER)
    pen.rectangle((455, 192, 625, 208), fill=AMBER)
    pen.rectangle((532, 118, 548, 195), fill="#8a5200")


def _eye(pen: Pencil) -> None:
    pen.ellipse((465, 145, 615, 235), outline=INK, width=7)
    pen.ellipse((513, 163, 567, 217), fill=GREEN)
    pen.ellipse((530, 180, 550, 200), fill=INK)


def _warning(pen: Pencil) -> None:
    pen.polygon(((540, 115), (620, 255), (460, 255)), fill="#f2c744", outline=INK)
    pen.rectangle((533, 160, 547, 215), fill=INK)
    pen.ellipse((532, 224, 548, 240), fill=INK)


def _plug(pen: Pencil) -> None:
    pen.rounded_rectangle((495, 130, 585, 250), 14, outline=INK, width=7)
    pen.ellipse((517, 165, 533, 181), fill=INK)
    pen.ellipse((547, 165, 563, 181), fill=INK)
    pen.line((480, 265, 600, 115), fill=RED, width=10)


def _talk(pen: Pencil) -> None:
    pen.rounded_rectangle((460, 125, 575, 195), 16, fill=GREEN)
    pen.polygon(((485, 195), (515, 195), (480, 222)), fill=GREEN)
    pen.rounded_rectangle((520, 210, 622, 262), 16, outline=INK, width=6)


def _stop(pen: Pencil) -> None:
    pen.regular_polygon((540, 190, 76), 8, rotation=22, fill=RED)
    pen.rectangle((500, 180, 580, 200), fill=PAPER)


def _tick(pen: Pencil) -> None:
    pen.ellipse((468, 118, 612, 262), fill=GREEN)
    pen.line(((503, 192), (532, 221), (581, 158)), fill=PAPER, width=14, joint="curve")


SLIDES = (
    Slide(
        title=("作业前的五分钟", "Five minutes before work"),
        lines=(
            ("这是一节示例课，共四分钟", "A sample lesson of four minutes"),
            ("学习时请面对屏幕", "Please face the screen while you study"),
            ("离开时，播放会自动停下", "When you leave, the player stops"),
        ),
        draw=_clock,
    ),
    Slide(
        title=("一、穿戴好防护用品", "1. Put on your protection"),
        lines=(
            ("安全帽：系好下颏带", "Helmet: fasten the chin strap"),
            ("防护鞋、手套按岗位选用", "Shoes and gloves that fit the task"),
            ("破损的用品立即更换", "Replace what is damaged at once"),
        ),
        draw=_helmet,
    ),
    Slide(
        title=("二、先看一遍现场", "2. Look around first"),
        lines=(
            ("上面、下面、身后都要看", "Above you, below you, behind you"),
            ("通道和出口是否畅通", "Are the ways and exits clear?"),
            ("有没有别人在附近作业", "Does anybody work close by?"),
        ),
        draw=_eye,
    ),
    Slide(
        title=("三、说出三个危险", "3. Name three hazards"),
        lines=(
            ("会不会坠落、碰撞、夹伤", "Falls, collisions, pinch points"),
            ("有没有电、火、有害气体", "Electricity, fire, harmful gas"),
            ("今天和昨天有什么不同", "What is different from yesterday?"),
        ),
        draw=_warning,
    ),
    Slide(
        title=("四、断开能源", "4. Cut off the energy"),
        lines=(
            ("停机、断电、上锁、挂牌", "Stop, isolate, lock, tag"),
            ("试一次，确认真的断开", "Try once: is it really off?"),
            ("钥匙自己保管", "Keep the key yourself"),
        ),
        draw=_plug,
    ),
    Slide(
        title=("五、和同伴说清楚", "5. Talk to your partner"),
        lines=(
            ("谁做什么，按什么顺序", "Who does what, in which order"),
            ("用什么手势或口令", "Which signs or words you use"),
            ("紧急时找谁，怎么找", "Whom to call in an emergency"),
        ),
        draw=_talk,
    ),
    Slide(
        title=("六、不清楚就停下", "6. Not sure? Stop"),
        lines=(
            ("停下不会受责备", "Nobody is blamed for stopping"),
            ("问班组长，问安全员", "Ask the team leader, the safety officer"),
            ("想清楚了再继续", "Go on when it is clear"),
        ),
        draw=_stop,
    ),
    Slide(
        title=("小结", "In short"),
        lines=(
            ("防护、观察、说出危险", "Protect, look, name the hazards"),
            ("断能、沟通、不清楚就停", "Isolate, talk, stop when unsure"),
            ("每天五分钟，平安回家", "Five minutes a day, and home safe"),
        ),
        draw=_tick,
    ),
)


def _font(size: int) -> Any:
    return ImageFont.truetype(str(FONT), size, index=2)  # 2: simplified Chinese


def picture(second: float) -> Image.Image:
    """Draw what is shown at one moment."""
    number = min(int(second // SLIDE_S), len(SLIDES) - 1)
    slide, within = SLIDES[number], second - number * SLIDE_S
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((32, 24), slide.title[0], font=_font(34), fill=INK)
    pen.text((32, 72), slide.title[1], font=_font(19), fill=QUIET)
    slide.draw(pen)
    for line, (zh, en) in enumerate(slide.lines):
        if within >= 1 + line * LINE_EVERY_S:
            pen.text((32, 122 + line * 62), zh, font=_font(24), fill=INK)
            pen.text((32, 154 + line * 62), en, font=_font(15), fill=QUIET)
    pen.text((576, 24), f"{number + 1} / {len(SLIDES)}", font=_font(17), fill=QUIET)
    length = SLIDE_S * len(SLIDES)
    pen.rectangle((0, HEIGHT - 12, WIDTH, HEIGHT), fill="#e2ded3")
    pen.rectangle((0, HEIGHT - 12, WIDTH * int(second) // length, HEIGHT), fill=GREEN)
    return image


def tone() -> np.ndarray:
    """Give the sound, (1, n) float32: a soft chime at every slide, silence in between."""
    sound = np.zeros(SLIDE_S * len(SLIDES) * SAMPLE_RATE, np.float32)
    t = np.arange(int(0.9 * SAMPLE_RATE)) / SAMPLE_RATE
    fade = np.exp(-5 * t) * np.minimum(1, t / 0.01)
    for number in range(len(SLIDES)):
        chime = sum(np.sin(2 * np.pi * hertz * t) for hertz in (523.25, 659.25)) * fade * 0.12
        start = number * SLIDE_S * SAMPLE_RATE
        sound[start : start + len(t)] = chime
    return sound[None, :]


def _frames() -> Iterator[av.VideoFrame]:
    last: tuple[int, av.VideoFrame] | None = None
    for index in range(SLIDE_S * len(SLIDES) * FPS):
        second = index // FPS
        if last is None or last[0] != second:
            last = (second, av.VideoFrame.from_image(picture(second)).reformat(format="yuv420p"))
        frame = last[1]
        frame.pts, frame.time_base = index, Fraction(1, FPS)
        yield frame


def _blocks(sample_format: str, size: int) -> Iterator[av.AudioFrame]:
    sound = tone()
    if sample_format == "s16":
        sound = (sound * 32_767).astype(np.int16)
    for start in range(0, sound.shape[1], size):
        block = np.ascontiguousarray(sound[:, start : start + size])
        frame = av.AudioFrame.from_ndarray(block, format=sample_format, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        yield frame


def write(path: Path, video: tuple[str, dict[str, str]], audio: tuple[str, int, str, int]) -> None:
    """Write one container."""
    options = {"movflags": "+faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options={"fflags": "+bitexact", **options}) as container:
        pictures = container.add_stream(video[0], rate=FPS, options=video[1])
        pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        pictures.codec_context.gop_size = 10 * FPS  # seeking is exact to ten seconds
        pictures.codec_context.thread_count = 1
        sounds = container.add_stream(audio[0], rate=SAMPLE_RATE, layout="mono")
        sounds.codec_context.bit_rate = audio[1]
        blocks = _blocks(audio[2], audio[3])
        ahead = next(blocks, None)
        for frame in _frames():
            while ahead is not None and ahead.pts / SAMPLE_RATE <= frame.pts / FPS:
                container.mux(sounds.encode(ahead))
                ahead = next(blocks, None)
            container.mux(pictures.encode(frame))
        while ahead is not None:
            container.mux(sounds.encode(ahead))
            ahead = next(blocks, None)
        container.mux(pictures.encode(None))
        container.mux(sounds.encode(None))


def main(folder: Path) -> None:
    """Write both files."""
    vp8 = {"crf": "12", "b": "150k", "quality": "good", "cpu-used": "2"}
    h264 = {"crf": "27", "profile": "baseline", "preset": "slow", "tune": "stillimage"}
    write(folder / "sample-lesson.webm", ("libvpx", vp8), ("libopus", 16_000, "s16", BLOCK))
    write(folder / "sample-lesson.mp4", ("libx264", h264), ("aac", 24_000, "fltp", 1_024))


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[1] / "session_tracker/web/media"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)

"""Music for a video of any length (IVQV2M).

    video ─ 1 picture a second ─ ImageTokenizer ─ codes ─ bridge ─ one vector a picture ─ aligned in time
                                                                                                │
    silence ─────────────────────────────────────────────── TokenGenerator ─ ids ─ codes ─ codec ─ waveform ─ copy of the video

References:
    IVQ, section 3.3 and appendix A.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from vqkit.data.video import copy_with_sound, picture_seconds, pictures
from vqkit.files import check_not_source, write_whole
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.generator.bridge import ConditionBridge, HexagramBridge, LatentBridge, align, picture_tokens
from vqkit.models.generator.packing import StagePacking
from vqkit.models.generator.picture_tokens import check_same_weights, picture_codes
from vqkit.models.generator.token_generator import TokenGenerator
from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.models.loading import load_codec
from vqkit.saved import read_config
from vqkit.types import Float, Int

__all__ = ["MusicGenerator", "Scored"]

PICTURES_PER_SECOND = 1
_BATCH = 32  # pictures encoded at once
_SETTINGS = "music.json"


@dataclass(frozen=True)
class Scored:
    """Result of scoring a video with music.

    Attributes:
        seconds: duration of the music.
        pictures: number of pictures that conditioned it.
    """

    seconds: float
    pictures: int


class MusicGenerator:
    """A generator of music tokens, the codec whose codes it learned, and the image tokenizer that looks at the video.

    Args:
        generator: generator of the codec's codes, conditioned on vectors of pictures.
        codec: makes music of codes.
        tokenizer: tokenizer of pictures of one size.
        learned_adapter: conditions are the pictures' own latents (`LatentBridge`); otherwise the hexagrams of the pictures, decoded with
            the music's codebooks (`HexagramBridge`). It must be as the generator was trained.

    Raises:
        TypeError: a quantizer is no IVQ, and there is no learned adapter.
        ValueError: the models do not fit together.
    """

    def __init__(
        self,
        generator: TokenGenerator,
        codec: AudioTokenizer,
        tokenizer: ImageTokenizer,
        *,
        learned_adapter: bool = False,
    ) -> None:
        check_same_weights(generator.tokens_of, codec, "codec")
        self.packing = StagePacking.fitting(codec.quantizer, generator.code_sizes)
        tokens = picture_tokens(tokenizer)
        self.bridge: ConditionBridge = (
            LatentBridge(tokenizer.quantizer, tokens)
            if learned_adapter
            else HexagramBridge(tokenizer.quantizer, codec.quantizer, tokens)
        )
        if generator.condition_dim != self.bridge.condition_dim:
            raise ValueError(
                f"the generator takes conditions of {generator.condition_dim} numbers, a picture gives {self.bridge.condition_dim}: "
                "generator and image tokenizer do not fit together"
            )
        self.generator, self.codec, self.tokenizer = generator.eval(), codec.eval(), tokenizer.eval()
        self.learned_adapter = learned_adapter

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ValueError: a model is missing or damaged, or they do not fit together.
        """
        folder = Path(folder)
        if not (folder / _SETTINGS).is_file():
            raise ValueError(f"{folder} is no music generator: {_SETTINGS} is missing")
        settings = read_config(folder / _SETTINGS)
        if not isinstance(settings.get("learned_adapter"), bool):
            raise ValueError(f'{folder / _SETTINGS} must be {{"learned_adapter": true or false}}')
        generator = TokenGenerator.from_pretrained(folder / "generator")
        tokenizer = ImageTokenizer.from_pretrained(folder / "tokenizer")
        return cls(generator, load_codec(folder / "codec"), tokenizer, learned_adapter=settings["learned_adapter"])

    def save(self, folder: str | Path) -> None:
        """Write the three models and the setting into a folder."""
        folder = Path(folder)
        self.generator.save_pretrained(folder / "generator")
        self.codec.save_pretrained(folder / "codec")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        write_whole(folder / _SETTINGS, (json.dumps({"learned_adapter": self.learned_adapter}) + "\n").encode())

    def to(self, device: str | torch.device) -> Self:
        """Move the models."""
        for model in (self.generator, self.codec, self.tokenizer):
            model.to(device)
        return self

    def look(self, video: str | Path) -> Float[Tensor, "pictures condition_dim"]:
        """Conditions of a video, one a second; errors as of `vqkit.data.video.pictures`."""
        size = self.tokenizer.backbone.image_size
        assert size is not None  # `picture_tokens` has seen to it
        found: list[Tensor] = []
        waiting: list[Tensor] = []
        for picture in pictures(video, size[0], PICTURES_PER_SECOND):
            waiting.append(picture)
            if len(waiting) == _BATCH:
                found.append(self._seen(waiting))
                waiting = []
        if waiting:
            found.append(self._seen(waiting))
        return torch.cat(found)

    def compose(
        self,
        seen: Float[Tensor, "pictures condition_dim"],
        seconds: float,
        *,
        seed: int = 0,
        watch: Callable[[float], None] = lambda share: None,
        **sampling: Any,
    ) -> Int[Tensor, "frames num_codes"]:
        """Codes of music for pictures.

        Args:
            seen: what `look` gave.
            seconds: duration of the music; it is rounded up to whole frames.
            seed: seed of the random numbers.
            watch: called with the share that is done.
            sampling: temperature, top_k, top_p and guidance of `TokenGenerator.generate`.
        """
        frames = max(1, ceil(seconds * self.codec.frame_rate - 1e-6))
        share = PICTURES_PER_SECOND / self.codec.frame_rate

        def condition(first: int, last: int) -> Tensor:
            return align(seen, last - first, share, first)[None]

        ids = self.generator.generate(frames, condition=condition, seed=seed, watch=watch, **sampling)
        return self.packing.unpack(ids[0])

    @torch.no_grad()
    def sound(self, codes: Int[Tensor, "frames num_codes"]) -> Iterator[Float[Tensor, "channels _"]]:
        """Waveform of codes, in blocks of about a second where the codec can be streamed."""
        block = max(1, round(self.codec.frame_rate))
        try:
            stream = self.codec.streaming(block_frames=block)
        except ValueError:  # its layers need the whole signal
            yield self.codec.decode(codes.T[None])[0].float().cpu()
            return
        with stream:
            for wav in stream.decode_blocks(part.T[None] for part in codes.split(block)):
                yield wav[0].float().cpu()

    def score_video(
        self,
        video: str | Path,
        out: str | Path,
        *,
        seed: int = 0,
        overwrite: bool = False,
        watch: Callable[[float], None] = lambda share: None,
        **sampling: Any,
    ) -> Scored:
        """Write a copy of a video with generated music; its picture is copied as it is.

        Args:
            video: video of any length.
            out: an .mp4, .mov or .mkv file.
            seed: seed of the random numbers.
            overwrite: replace a file that exists.
            watch: called with the share that is done.
            sampling: arguments of sampling, as in `compose`.

        Raises:
            FileExistsError: ``out`` exists, and ``overwrite`` is False.
            FileNotFoundError: there is no such video.
            ValueError: ``out`` is the video itself, it has no frames, or a setting is out of range.
        """
        check_not_source(out, video)
        seen = self.look(video)
        # as long as the pictures, each of which stands for its second; the last one may end earlier
        seconds = min(len(seen) / PICTURES_PER_SECOND, picture_seconds(video) or len(seen) / PICTURES_PER_SECOND)
        codes = self.compose(seen, seconds, seed=seed, watch=lambda share: watch(0.95 * share), **sampling)
        wav = _first(self.sound(codes), round(seconds * self.codec.sample_rate))
        copy_with_sound(video, out, wav, self.codec.sample_rate, self.codec.channels, overwrite=overwrite)
        watch(1.0)
        return Scored(seconds, len(seen))

    def _seen(self, waiting: list[Tensor]) -> Tensor:
        images = torch.stack(waiting)
        if self.tokenizer.channels == 1:
            images = images.mean(dim=1, keepdim=True)
        return self.bridge(picture_codes(self.tokenizer, images).to(self.generator.first.device))


def _first(blocks: Iterator[Tensor], samples: int) -> Iterator[Tensor]:
    """The first samples of blocks."""
    for block in blocks:
        if samples <= 0:
            return
        yield block[:, :samples]
        samples -= block.shape[1]

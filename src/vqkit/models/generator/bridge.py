"""Pictures as conditions for music: the codes of pictures, as vectors that a generator of music takes.

    IVQ codes of a picture ─ hexagram indices ─ the same indices in the music codec's IVQ ─ its codebook vectors z_m     `HexagramBridge`
    IVQ codes of a picture ─ codebook vectors z_v of the picture's own quantizer                                         `LatentBridge`

Either way a picture is one vector, the concatenation of its tokens' vectors, and every frame of the music gets that of its moment. The
generator's own input layer is linear: on `LatentBridge` it is the learned linear adapter between the two spaces, on `HexagramBridge` no
part of the way from picture to music latent is learned.

References:
    IVQ, section 3.3, "Video-to-music generation": z_m = h_m⁻¹(i, C_m), and appendix A. There z_m enters as a sequence of its own; here the
    vectors of a picture enter side by side, so that the first frame of a second knows the whole picture.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.models.loading import load_codec
from vqkit.quantize import IVQ, Quantizer
from vqkit.types import Float, Int

__all__ = [
    "ConditionBridge",
    "HexagramBridge",
    "LatentBridge",
    "align",
    "hexagram_bridge",
    "latent_bridge",
    "picture_tokens",
]


class ConditionBridge(ABC):
    """Codes of pictures → one vector a picture.

    Attributes:
        tokens: number of tokens of a picture.
        dim: length of the vector of one token.
    """

    tokens: int
    dim: int

    @property
    def condition_dim(self) -> int:
        """Length of the vector of a picture."""
        return self.tokens * self.dim

    @abstractmethod
    def vectors(self, codes: Int[Tensor, "pictures tokens num_codes"]) -> Float[Tensor, "pictures tokens dim"]:
        """Vectors of tokens."""

    @torch.no_grad()
    def __call__(self, codes: Int[Tensor, "pictures tokens num_codes"]) -> Float[Tensor, "pictures condition_dim"]:
        """Return the condition vector of each picture.

        Raises:
            ValueError: the pictures have another number of tokens.
        """
        if codes.ndim != 3 or codes.shape[1] != self.tokens:
            raise ValueError(f"expected codes of {self.tokens} tokens a picture, got shape {tuple(codes.shape)}")
        return self.vectors(codes).flatten(start_dim=1).float()


class HexagramBridge(ConditionBridge):
    """The paper's way without an adapter: hexagram indices of pictures, decoded with the codebooks of music.

    Args:
        pictures: the IVQ of the image tokenizer.
        sound: the IVQ of the music codec, of the same lines and number of stages; the variants may differ.
        tokens: number of tokens of a picture.
        scramble: seed of a permutation of the hexagrams of each stage, a control: it carries the same information in an arbitrary
            arrangement. None keeps the hexagrams.

    Raises:
        TypeError: a quantizer is no IVQ.
        ValueError: the lines or stages differ.

    Example:
        >>> bridge = HexagramBridge(IVQ(12, variant="bottom-up"), IVQ(24, variant="yin-yang"), tokens=4)
        >>> bridge(torch.zeros(3, 4, 12, dtype=torch.long)).shape, bridge.condition_dim
        (torch.Size([3, 96]), 96)
    """

    def __init__(self, pictures: Quantizer, sound: Quantizer, tokens: int, scramble: int | None = None) -> None:
        for name, quantizer in (("pictures", pictures), ("sound", sound)):
            if not isinstance(quantizer, IVQ):
                raise TypeError(f"{name} must have an IVQ, whose hexagrams both share; got {type(quantizer).__name__}")
        assert isinstance(pictures, IVQ) and isinstance(sound, IVQ)  # noqa: PT018  # for the type checker
        shapes = [(quantizer.lines, len(quantizer.pieces)) for quantizer in (pictures, sound)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"the hexagrams of pictures have (lines, stages) {shapes[0]}, those of sound {shapes[1]}: they do not fit together"
            )
        self.pictures, self.sound, self.tokens, self.dim = pictures.eval(), sound.eval(), tokens, sound.dim
        self.order: Tensor | None = None
        if scramble is not None:
            generator = torch.Generator().manual_seed(scramble)
            self.order = torch.stack([torch.randperm(1 << sound.lines, generator=generator) for _ in sound.pieces])

    def vectors(self, codes: Int[Tensor, "pictures tokens num_codes"]) -> Float[Tensor, "pictures tokens dim"]:
        """z_m of the hexagrams."""
        indices = self.pictures.hexagrams(codes)
        if self.order is not None:
            tables = self.order.to(codes.device)
            indices = torch.stack([tables[s][indices[..., s]] for s in range(indices.shape[-1])], dim=-1)
        return self.sound.decode(self.sound.from_hexagrams(indices))


class LatentBridge(ConditionBridge):
    """The baseline: vectors of the pictures' own codebooks, which the generator's linear input layer learns to read.

    Args:
        pictures: quantizer of the image tokenizer.
        tokens: number of tokens of a picture.

    Example:
        >>> LatentBridge(IVQ(12), tokens=4)(torch.zeros(3, 4, 24, dtype=torch.long)).shape
        torch.Size([3, 48])
    """

    def __init__(self, pictures: Quantizer, tokens: int) -> None:
        self.pictures, self.tokens, self.dim = pictures.eval(), tokens, pictures.dim

    def vectors(self, codes: Int[Tensor, "pictures tokens num_codes"]) -> Float[Tensor, "pictures tokens dim"]:
        """z_v of the codes."""
        return self.pictures.decode(codes)


def hexagram_bridge(pictures: str, sound: str, scramble: int | None = None) -> HexagramBridge:
    """A `HexagramBridge` of saved models, for recipes.

    Args:
        pictures: folder of an image tokenizer with an IVQ.
        sound: folder of a codec with an IVQ.
        scramble: whether hexagrams are permuted, as in `HexagramBridge`.
    """
    tokenizer = ImageTokenizer.from_pretrained(pictures)
    return HexagramBridge(tokenizer.quantizer, load_codec(sound).quantizer, picture_tokens(tokenizer), scramble)


def latent_bridge(pictures: str) -> LatentBridge:
    """A `LatentBridge` of a saved image tokenizer, for recipes.

    Args:
        pictures: folder of an image tokenizer.
    """
    tokenizer = ImageTokenizer.from_pretrained(pictures)
    return LatentBridge(tokenizer.quantizer, picture_tokens(tokenizer))


def picture_tokens(tokenizer: ImageTokenizer) -> int:
    """Tokens of a picture, where the tokenizer takes pictures of one size.

    Raises:
        ValueError: it takes any size.
    """
    size = tokenizer.backbone.image_size
    if size is None:
        kind = type(tokenizer.backbone).__name__
        raise ValueError(
            f"a condition needs a fixed number of tokens, as of a ViTBackbone; a {kind} takes images of any size"
        )
    tokens = 1
    for side in tokenizer.grid(*size):
        tokens *= side
    return tokens


def align(
    vectors: Float[Tensor, "pictures condition_dim"], frames: int, pictures_per_frame: float, first_frame: int = 0
) -> Float[Tensor, "frames condition_dim"]:
    """The vector of the picture that is shown when a frame of music begins; behind the last picture it stays.

    Args:
        vectors: vectors of pictures at a constant rate.
        frames: number of frames of music.
        pictures_per_frame: pictures a second over frames a second.
        first_frame: number of the first frame.

    Example:
        >>> align(torch.tensor([[1.0], [2.0]]), frames=5, pictures_per_frame=0.5)[:, 0].tolist()
        [1.0, 1.0, 2.0, 2.0, 2.0]
    """
    place = ((torch.arange(frames) + first_frame).double() * pictures_per_frame + 1e-9).floor().long()
    return vectors[place.clamp_max(len(vectors) - 1).to(vectors.device)]

"""Items to codes with vqkit's models: what ``vqkit encode`` does, so that the codes are those of its files."""

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqkit.device import usable_device
from vqkit.tokenize.item import Encoded, Item

if TYPE_CHECKING:
    from vqkit.coding.kind import Kind

__all__ = ["ModelEncoder"]


@dataclass(frozen=True)
class ModelEncoder:
    """Encodes sound, images and video at a rate.

    Args:
        kinds: Kinds of content in the corpus, ``"sound"``, ``"images"``, ``"video"``: for each a model is loaded; none of video ships.
        models: Folders of ``save_pretrained`` or names of models that ship, at most one a kind; for the others the ones that ship.
        kbps: Highest rate of sound: as many stages as fit, before entropy coding.
        bpp: Highest rate of images: as many stages as fit into a ``.vqk`` file of so many bits a pixel.
        stages: Keep so many stages.
        keep_vqk: Make a ``.vqk`` file of each item, too, with the model's prior.
        video_sound: Take the sound of video files. Otherwise they are refused, unless a tokenizer of video is among the models.
        max_megapixels: Refuse an image whose header says more.
        device: Where the networks run. Of several GPUs each process of a pool takes one.
        batch: Items that go through the networks together, in lanes of one batch: see `encode_together`.

    Raises:
        ValueError: A rate is not above 0, or there are two; or batch is below 1.
    """

    kinds: tuple[str, ...] = ("sound",)
    models: tuple[str, ...] = ()
    kbps: float | None = None
    bpp: float | None = None
    stages: int | None = None
    keep_vqk: bool = False
    video_sound: bool = False
    max_megapixels: float = 64.0
    device: str = "cpu"
    batch: int = 1

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")

    def describe(self) -> dict[str, Any]:
        """Hashes, alphabets and rates of the models; checks that they can keep to the rate.

        Raises:
            ValueError: No such model, one of no kind in the corpus, or a rate that one cannot keep to.
        """
        from vqkit.coding.kinds import SOUND
        from vqkit.models.identity import weight_hash

        found, largest = {}, 1
        for kind, model in self.load().items():
            kind.check(model, self._rate())
            quantizer = model.quantizer
            entry = {
                "class": type(model).__name__,
                "weight_hash": weight_hash(model),
                "code_sizes": list(quantizer.code_sizes),
                "codes_per_stage": list(quantizer.codes_per_stage),
                "prior": model.prior.tables_hash if model.prior is not None and self.keep_vqk else "",
            }
            if kind == SOUND:
                entry |= {name: getattr(model, name) for name in ("sample_rate", "channels", "hop_samples")}
                entry["stages"] = self._rate().stages_of(model)
            largest = max(largest, *quantizer.code_sizes)
            found[kind.name] = entry
        settings: dict[str, Any] = {"kbps": self.kbps, "bpp": self.bpp, "stages": self.stages, "vqk": self.keep_vqk}
        settings |= {"video_sound": self.video_sound, "max_megapixels": self.max_megapixels}
        # both change how the networks round; named where they are not the usual ones, so that older runs can be continued
        settings |= {"batch": self.batch} if self.batch > 1 else {}
        settings |= {"device": self.device.partition(":")[0]} if self.device != "cpu" else {}
        return {"models": found, "settings": settings, "largest_code": largest - 1}

    def load(self) -> dict["Kind", Any]:
        """The models by kind, in evaluation mode; networks run on one thread, so that codes do not depend on how many there are."""
        import torch

        from vqkit.coding.kinds import KINDS, SOUND, VIDEO, open_models

        torch.set_num_threads(1)
        device = usable_device(self.device)
        if device.type == "cuda":  # the same kernels every time, of full precision
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        names = set(self.kinds)
        if VIDEO.name in names and (self.video_sound or not any(_codes_video(model) for model in self.models)):
            names = names - {VIDEO.name} | {SOUND.name}
        wanted = [kind for kind in KINDS if kind.name in names]
        return {kind: model.to(device) for kind, model in open_models(wanted, self.models, tokens=True).items()}

    def encode(self, loaded: dict["Kind", Any], item: Item) -> Encoded:
        """Codes of a file.

        Raises:
            ValueError: It is nothing that a model takes, or damaged.
        """
        from vqkit.coding.coded import unwatched

        kind = self._kind(loaded, item)
        file = io.BytesIO()
        with _as_file(item) as path:
            coded = kind.encode(loaded[kind], path, file, self._how(), unwatched)
        return self._encoded(kind, loaded[kind], file, coded)

    def encode_together(
        self, loaded: dict["Kind", Any], items: Sequence[Item], at: Callable[[int], None] = lambda index: None
    ) -> list[Encoded | Exception]:
        """Codes of several files, of which `batch` go through the networks at once.

        Sounds run in lanes, a second at a time, those of like sizes beside each other; images of one size make a batch. What the networks
        see always has the same shape, and the same items take the same lanes: their codes are the same, bit for bit, every time. Against
        `encode` the latents differ within float rounding, and so do codes where two lie equally near within that.

        Args:
            loaded: Result of `load`.
            items: The files.
            at: Called with the number of the item that is read next, and with −1 before the networks compute.

        Returns:
            The codes, or what is wrong with a file, in the order of the items.

        Raises:
            MemoryError: The device's memory does not suffice.
        """
        import torch

        results: list[Encoded | Exception] = [ValueError("it was not encoded")] * len(items)
        places: dict[Kind, list[int]] = {}
        for index, item in enumerate(items):
            try:
                places.setdefault(self._kind(loaded, item), []).append(index)
            except (ValueError, OSError) as error:
                results[index] = error
        for kind, indices in places.items():
            indices.sort(key=lambda index: _size(items[index]))  # like lengths beside each other
            files = [io.BytesIO() for _ in indices]
            with ExitStack() as stack:
                paths = [stack.enter_context(_as_file(items[index])) for index in indices]
                try:
                    made = kind.encode_together(
                        loaded[kind], paths, files, self._how(), self.batch, _renumbered(at, indices)
                    )
                except torch.OutOfMemoryError as error:
                    text = " ".join(str(error).split())[:200]
                    raise MemoryError(f"{text}; a batch smaller than {self.batch} needs less") from None
            for index, path, file, coded in zip(indices, paths, files, made, strict=True):
                if isinstance(coded, Exception):
                    results[index] = coded if isinstance(items[index].data, Path) else _of_item(coded, path)
                else:
                    results[index] = self._encoded(kind, loaded[kind], file, coded)
        return results

    def _how(self) -> Any:
        from vqkit.coding.kind import Encoding

        # tokens are the codes that the encoder gives: listening to them would cost many times as much
        encoding = Encoding(self._rate(), plain=not self.keep_vqk, max_megapixels=self.max_megapixels)
        return replace(encoding, level_rounds=0, refine_steps=0)

    def _encoded(self, kind: "Kind", model: Any, file: io.BytesIO, coded: Any) -> Encoded:
        """Read the codes of a ``.vqk`` file that the model has just written."""
        from vqkit.bitstream import VqkReader
        from vqkit.coding.kinds import VIDEO

        file.seek(0)
        reader = VqkReader(file, entropy_model=model.prior if self.keep_vqk else None)
        codes, header = reader.read().numpy(), reader.header
        if header.grid:
            times = (-1,) if header.modality is VIDEO.modality else ()
            codes = codes.reshape(*times, *header.grid, codes.shape[-1])
        length = reader.length or 0
        return Encoded(
            kind.name,
            codes,
            length / header.sample_rate if header.sample_rate else 0.0,
            tuple(header.image_size) or (length,),
            (*coded.notes, *coded.warnings),
            file.getvalue() if self.keep_vqk else b"",
        )

    def _kind(self, loaded: dict["Kind", Any], item: Item) -> "Kind":
        from vqkit.coding.kinds import SOUND, VIDEO, kind_of_content
        from vqkit.data.content import HEAD_BYTES, content_of, content_of_file

        content = content_of_file(item.data) if isinstance(item.data, Path) else content_of(item.data[:HEAD_BYTES])
        if isinstance(item.data, bytes) and not content:
            content = content_of_file(Path(item.key))  # no such file: by its suffix
        films = None if self.video_sound else VIDEO
        if content == "film" and films is not None and films not in loaded:
            raise ValueError("it is video: --model FOLDER names a tokenizer of video, --video-sound takes its sound")
        if content == "vqk":
            raise ValueError("it is tokenized already: vqkit.bitstream.VqkReader reads its codes")
        kind = kind_of_content(content, films) or SOUND
        if kind not in loaded:
            raise ValueError(f"it holds {kind.name}, for which no model was loaded")
        return kind

    def _rate(self) -> Any:
        from vqkit.coding.rate import Rate

        return Rate(kbps=self.kbps, bpp=self.bpp, stages=self.stages)


def _codes_video(model: str) -> bool:
    """Return whether a folder holds a tokenizer of video; False for a broken folder, whose error is raised where it is loaded."""
    from vqkit.modality import VIDEO
    from vqkit.models.loading import saved_modality, shipped_folder

    try:
        return saved_modality(shipped_folder(model) or model) is VIDEO
    except (ValueError, OSError):
        return False


@contextmanager
def _as_file(item: Item) -> Iterator[Path]:
    """A path: what is in memory is written down, since some formats are read from the end, and errors then name the item."""
    if isinstance(item.data, Path):
        yield item.data
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"item{Path(item.key).suffix}"
        path.write_bytes(item.data)
        try:
            yield path
        except ValueError as error:
            raise _of_item(error, path) from None


def _of_item(error: Exception, path: Path) -> Exception:
    """The error without the name of the file that an item in memory was written to."""
    return ValueError(str(error).replace(str(path), "it")) if isinstance(error, ValueError) else error


def _renumbered(at: Callable[[int], None], indices: list[int]) -> Callable[[int], None]:
    """The same of numbers in a part of the items."""
    return lambda number: at(number if number < 0 else indices[number])


def _size(item: Item) -> int:
    """Bytes of a file, which tell like lengths well enough for a batch."""
    return item.data.stat().st_size if isinstance(item.data, Path) else len(item.data)

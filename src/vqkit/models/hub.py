"""Saving, loading and sharing a model: ``config.json`` with the constructor's arguments and ``model.safetensors``; nothing is pickled."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import safetensors.torch
from huggingface_hub import ModelHubMixin, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor, nn

from vqkit.files import write_whole
from vqkit.models import identity
from vqkit.quantize import Quantizer
from vqkit.quantize.pretrained import expression, from_expression
from vqkit.quantize.sharding import refuse_parts
from vqkit.saved import CONFIG, WEIGHTS, built_for, check_arguments, one_line, read_config

__all__ = ["HubModel", "check_saved"]

_CARD = """---
{{ card_data }}
---

A vqkit model. `config.json` holds the arguments of its constructor, `model.safetensors` its weights.
"""


def check_saved(folder: Path) -> None:
    """See that a folder holds a saved model; of a run, or a generator with its models, the message names the folders that do.

    Raises:
        ValueError: it does not.
    """
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            inside = sorted(
                str(path.parent) for path in folder.glob(f"*/{CONFIG}") if (path.parent / WEIGHTS).is_file()
            )
            there = f"; there is one in {' and one in '.join(inside)}" if inside else ""
            raise ValueError(f"{folder} is not a saved model: {file} is missing{there}")


def _quantizer(config: Any) -> Any:
    return from_expression(Quantizer, config)


class HubModel(nn.Module, ModelHubMixin):
    """Base of the models: gives them ``save_pretrained``, ``from_pretrained`` and ``push_to_hub``.

    The arguments of the constructor must be JSON, `Quantizer` objects, or of a class whose coder the subclass names.
    """

    saved_as: ClassVar[str] = "model"  # folder of a training run that it is saved to
    _beside: ClassVar[tuple[str, ...]] = ()  # files that a model may have beside its weights

    def __init_subclass__(cls, **options: Any) -> None:
        options.setdefault("library_name", "vqkit")
        options.setdefault("model_card_template", _CARD)
        options["coders"] = {Quantizer: (expression, _quantizer), **options.get("coders", {})}
        super().__init_subclass__(**options)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Read what ``save_pretrained`` wrote; the model comes in evaluation mode.

        Args:
            name: a folder, or the name of a repository on the hub, ``"owner/model"``.
            revision: branch, tag or commit on the hub.
            cache_dir: where downloads are kept.
            token: access token for private repositories.
            local_files_only: never ask the network.

        Returns:
            The model.

        Raises:
            ValueError: not such a folder or repository, weights that do not fit the config, or a weight that is NaN or Inf.
        """
        options = {"revision": revision, "cache_dir": cache_dir, "token": token, "local_files_only": local_files_only}
        return cls.from_folder(cls.saved_folder(name, **options))

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read what ``save_pretrained`` wrote into a folder; errors as in `from_pretrained`.

        The folder may be a stranger's: nothing is built before config and weights are known to belong together, see `vqkit.saved`.
        """
        config = cls._read_config(folder / CONFIG)
        model = built_for(folder, lambda: cls(**cls._arguments_of(config)))
        identity.read_claim(model, folder / WEIGHTS)
        model._read_beside(folder)
        return model.eval()

    @classmethod
    def saved_folder(cls, name: str | Path, **options: Any) -> Path:
        """The folder that holds a saved model, downloaded if it is on the hub; name, options and errors as in `from_pretrained`."""
        folder = Path(name)
        if not folder.is_dir() and (
            folder.exists() or folder.is_absolute() or len(folder.parts) != 2 or folder.parent.is_dir()
        ):
            raise ValueError(f"{name} is neither a folder nor a name on the hub (owner/model)")
        if not folder.is_dir():
            try:
                for file in (CONFIG, WEIGHTS, *cls._beside):
                    try:
                        folder = Path(str(hf_hub_download(str(name), file, **options))).parent
                    except EntryNotFoundError:
                        if file not in cls._beside:
                            raise
            except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError) as error:
                reason = str(error).strip().partition("\n")[0]
                raise ValueError(f"{name} is neither a folder nor a model on the hub: {reason}") from None
        check_saved(folder)
        return folder

    def _read_beside(self, folder: Path) -> None:
        """Read what there is of the files in ``_beside``."""

    @classmethod
    def _read_config(cls, path: Path) -> dict[str, Any]:
        """Arguments of the constructor, as JSON."""
        config = read_config(path)
        kind = config.pop("class", cls.__name__)
        if kind != cls.__name__:
            raise ValueError(f"{path} is the config of a {one_line(kind, 60)}, not of {cls.__name__}")
        known = [name for name in cls._hub_mixin_init_parameters if name != "self"]
        if not config.keys() <= set(known):
            raise ValueError(f"{path} is not the config of {cls.__name__}; its keys are {', '.join(known)}")
        return config

    @classmethod
    def _arguments_of(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Arguments of the constructor; quantizers and other parts are built."""
        known = cls._hub_mixin_init_parameters
        arguments = {key: cls._decode_arg(known[key].annotation, value) for key, value in config.items()}
        check_arguments(cls, arguments)
        return arguments

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = self.state_dict()  # moves and casts put other tensors in their place
        super()._apply(fn, recurse)
        identity.keep_hash(self, before)
        return self

    def _save_pretrained(self, save_directory: Path) -> None:
        refuse_parts(self.state_dict())
        named = {"class": type(self).__name__, **self._hub_mixin_config}  # type: ignore[dict-item]
        config = json.dumps(named, indent=2, sort_keys=True) + "\n"
        state = {key: value.detach().contiguous() for key, value in self.state_dict().items()}
        write_whole(save_directory / WEIGHTS, safetensors.torch.save(state, identity.claim(self) or None))
        write_whole(save_directory / CONFIG, config.encode())

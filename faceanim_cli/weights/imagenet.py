"""Classifiers of torchvision trained on ImageNet: shipped, in torchvision's cache, or fetched into it."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from faceanim_cli.errors import FaceanimError, WeightsError
from faceanim_cli.weights.catalogue import SQUEEZENET_FEATURES, shipped_weights
from faceanim_cli.weights.file_kind import file_kind
from faceanim_cli.weights.hub import is_offline
from faceanim_cli.weights.torch_file import read_torch_file

log = logging.getLogger(__name__)


def imagenet_file(
    network: str,
    option: str,
    *,
    offline: bool = False,
    report: Callable[[str], None] = log.info,
    progress: bool = False,
) -> Path:
    """The file of a classifier's weights: shipped, in torchvision's cache (TORCH_HOME), or fetched into it.

    Args:
        network: torchvision's name: squeezenet1_1, whose convolutions ship; vgg19; resnet18, ...
        option: that takes a file of such weights, for the error.
        offline: fetch nothing.
        report: told what is fetched, from where and to where, before it is.
        progress: whether a bar is drawn on stderr meanwhile.

    Raises:
        WeightsError: it is not here and cannot, or must not, be fetched; says what to fetch by hand.
        FaceanimError: it cannot be written.
    """
    if network == "squeezenet1_1":
        return shipped_weights(SQUEEZENET_FEATURES)
    weights = torchvision.models.get_model_weights(network).DEFAULT
    url = str(weights.url)
    name = url.rsplit("/", 1)[-1]
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    if file.is_file():
        return file
    megabytes = f"{weights.meta['_file_size']:.0f} MB"
    by_hand = f"download {url} ({megabytes}) to {file}, or give it with {option}"
    if is_offline(offline):
        raise WeightsError(
            f"torchvision's ImageNet weights of {network} are not on this machine, and --offline or "
            f"HF_HUB_OFFLINE forbids fetching them: {by_hand}"
        )
    report(f"fetching torchvision's ImageNet weights of {network}: {url} ({megabytes}) to {file}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaceanimError(f"cannot write {file}: {error.strerror}; set TORCH_HOME to a folder") from error
    try:
        # The name ends in the first digits of the content's SHA-256.
        torch.hub.download_url_to_file(url, str(file), name.split(".")[0].split("-")[-1], progress)
    except (OSError, RuntimeError) as error:  # no network, a full disk; a broken download
        raise WeightsError(f"cannot fetch {url} ({error}): {by_hand}") from error
    return file


def read_imagenet(file: Path) -> dict[str, Tensor]:
    """The tensors of a classifier's weights, float32: a safetensors file, or one as torchvision's are.

    Raises:
        WeightsError: no such file, or neither.
    """
    if file_kind(file) == "safetensors":
        try:
            content = load_file(file)
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"{file}: a damaged safetensors file ({error}); fetch it again") from error
    else:
        content = read_torch_file(file)
    tensors = content if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise WeightsError(f"{file}: not the weights of a classifier: tensors by name are needed")
    return {str(key): t.float() if t.is_floating_point() else t for key, t in tensors.items()}

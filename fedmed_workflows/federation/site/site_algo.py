"""The site's part of a round: receive, train, evaluate and send. The same class runs in one process and on NVFlare."""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data.utils import set_rnd
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, WeightType
from monai.fl.utils.exchange_object import ExchangeObject
from monai.utils import set_determinism

from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.privacy.gaussian_update import GaussianUpdate
from fedmed_workflows.exchange.privacy.private_update import RECEIVED, ROUND, PrivateUpdate
from fedmed_workflows.exchange.weights import FULL, Update, Weights, get_weights, set_weights
from fedmed_workflows.federation.bundle.checkpoint import save_network
from fedmed_workflows.federation.bundle.config import TRAIN_CONFIG, config_files, site_workflow
from fedmed_workflows.federation.site.local_tensors import LocalTensors
from fedmed_workflows.federation.site.loss_watch import LossWatch
from fedmed_workflows.federation.site.site_state import SiteState

logger = logging.getLogger(__name__)


class SiteAlgo(MonaiAlgo):  # type: ignore[misc]
    """Runs the training of a bundle as one site of a federation.

    Between rounds the state of the optimiser is on the site's disk, not in memory, one file for each round. The file
    also holds the state of the trainer's handlers and of its loss, if they have one. Random numbers are seeded from
    (seed, site, round), so that the engine, the other sites and a restart do not change a bit of the result.

    Parameters
    ----------
    bundle_root
        Folder of the bundle.
    site
        Name of the site.
    dataset_dir
        Folder or datalist of the site's images.
    state_dir
        Folder of the site's state.
    seed
        Seed of the federation.
    local_epochs
        Number of epochs in each round.
    settings
        Entries of the training configuration to replace, by id.
    held_out
        Whether the site is the unseen site, which is evaluated and never trains.
    train_config
        The training configuration and its overlays, as paths in the folder of the bundle or elsewhere.
    exchange_dtype
        Type in which real numbers are sent, one of :data:`fedmed_workflows.exchange.weights.EXCHANGE_DTYPES`.
    privacy
        Makes the update private before it leaves the site; None sends the update unchanged.
    local_normalization
        Whether trained normalisation layers stay at the site.

    Raises
    ------
    ValueError
        A setting is not an entry of the training configuration, or the bundle refuses the site's images.
    FileNotFoundError
        The folder `bundle_root` has no bundle.
    """

    def __init__(
        self,
        bundle_root: str,
        site: str,
        dataset_dir: str,
        state_dir: str,
        seed: int = 0,
        local_epochs: int = 1,
        settings: Mapping[str, Any] | None = None,
        held_out: bool = False,
        train_config: Sequence[str] = (TRAIN_CONFIG,),
        exchange_dtype: str = FULL,
        privacy: GaussianUpdate | None = None,
        local_normalization: bool = False,
    ) -> None:
        self.site, self.dataset_dir, self.seed = site, dataset_dir, seed
        self.state = SiteState(state_dir)
        self.held_out = held_out
        self.exchange_dtype, self.privacy = exchange_dtype, privacy
        self.local_normalization = local_normalization
        own = {"dataset_dir": dataset_dir, "seed": seed, "bundle_root": bundle_root, "held_out": held_out}
        self.workflow = site_workflow(config_files(bundle_root, train_config), {**(settings or {}), **own})
        super().__init__(
            bundle_root=bundle_root,
            local_epochs=local_epochs,
            send_weight_diff=False,
            config_train_filename=None,
            config_evaluate_filename=None,
            train_workflow=None if held_out else self.workflow,
            eval_workflow=self.workflow if held_out else None,
        )

    def initialize(self, extra: dict[str, Any] | None = None) -> None:
        """Builds network, data, trainer and evaluator. All images are read and checked here."""
        set_determinism(self.seed)  # the initial trained part depends only on the seed
        with warnings.catch_warnings():
            # MONAI warns of a configuration that the server provides; here the configuration is the site's own bundle
            warnings.filterwarnings("ignore", message="executing the bundle config")
            super().initialize({ExtraItems.CLIENT_NAME: self.site, **(extra or {})})
        self.network = self._parsed("network")
        self.evaluator = self.workflow.evaluator
        self.tester = self._parsed("test#evaluator")
        self.local = LocalTensors(self.network, self.state, self.local_normalization)
        self.manifest = Manifest.of(self.network, self.exchange_dtype)
        if not self.held_out:
            self.trainer = self.workflow.trainer
            self.state.include([*self._parsed("train#handlers"), self.trainer.loss_function])
            self.watch = LossWatch(self.site)
            self.watch.attach(self.trainer)
            if self.privacy is not None:
                self.post_weight_filters = [
                    PrivateUpdate(self.privacy, self.network, self.state.folder, self.state.begun)
                ]

    def fit_round(self, weights: Mapping[str, torch.Tensor], round_number: int) -> Update:
        """Trains one round, starting from the aggregate of the previous round.

        If the method raises an error, the site's saved state is still that of the previous round.

        Parameters
        ----------
        weights
            The aggregate, with exactly the tensors of the manifest.
        round_number
            Number of the round, 1 for the first.

        Raises
        ------
        ValueError
            The received or the trained weights do not match the manifest.
        NonFiniteLossError
            The loss became NaN or infinite.
        """
        self.state.restore(self.trainer, round_number, self.workflow.device)
        self.local.load_last()
        self._reseed(round_number)
        self.train(ExchangeObject(weights=dict(weights), weight_type=WeightType.WEIGHTS))
        sent = self.get_weights({RECEIVED: weights, ROUND: round_number}).weights
        self.manifest.check(sent, f"site {self.site!r}: trained weights")
        self.state.keep(self.trainer, round_number, self.local.trained())
        self.trainer.optimizer.zero_grad(set_to_none=True)
        self.trainer.optimizer.state.clear()
        return Update(sent, self.samples, self._figures(round_number))

    def train(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> None:
        """Trains `local_epochs` epochs, starting from the given weights."""
        self._receive(data)
        self.trainer.state.max_epochs = self.trainer.state.epoch + self.local_epochs
        self.iter_of_start_time = self.trainer.state.iteration
        try:
            self.trainer.run()
        except BaseException:
            self.trainer._internal_run_generator = None  # else Ignite continues this round in the next
            raise

    def evaluate(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Returns the metrics of the given weights on the site's validation images (unseen site: on all images)."""
        self._receive(data)
        self.evaluator.run()
        metrics = {name: float(value) for name, value in self.evaluator.state.metrics.items()}
        return ExchangeObject(metrics=metrics)

    def score(self, weights: Mapping[str, torch.Tensor], untrained: bool = False) -> dict[str, Any]:
        """Returns the metrics of the given weights, with intervals, on the test images (unseen site: on all images).

        Only numbers leave the site, no image and no single prediction. With `untrained` weights, the tensors that stay
        at the site are untrained, too. Otherwise a site with such tensors saves its own network to ``model.pt``.
        """
        self._receive(ExchangeObject(weights=dict(weights)), untrained)
        if self.local and not self.held_out and not untrained:
            save_network(self.network, self.state.folder / "model.pt")
        self.tester.run()
        score: dict[str, Any] = self.tester.state.metrics["score"]
        return score

    def get_weights(self, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Returns copies of the exchanged tensors and of no other tensor, after MONAI's filters if there are any."""
        filters = self.post_weight_filters or []
        dtype = FULL if filters else self.exchange_dtype  # filters compute before the cast
        data = ExchangeObject(weights=get_weights(self.network, dtype), weight_type=WeightType.WEIGHTS)
        for post_filter in filters:
            data = post_filter(data, extra)
        return data

    def initial_weights(self) -> Weights:
        """Returns the exchanged tensors as initialized from the seed, which are the same at every site."""
        return get_weights(self.network, self.exchange_dtype)

    @property
    def samples(self) -> int:
        """Number of training samples, n_k; 0 at the unseen site."""
        return 0 if self.held_out else len(self.workflow.train_dataset)

    def save_model(self, weights: Mapping[str, torch.Tensor], path: Path) -> Path:
        """Writes the state of the network with the given weights; tensors that stay local are untrained."""
        self._receive(ExchangeObject(weights=dict(weights)), untrained=True)
        return save_network(self.network, path)

    def has_setting(self, name: str) -> bool:
        """Returns whether the training configuration has an entry of this name."""
        return name in self.workflow.parser

    def setting(self, name: str) -> Any:
        """Returns the value of an entry of the training configuration."""
        return self._parsed(name)

    def test_dataset(self) -> Any:
        """Returns the dataset on which :meth:`score` evaluates."""
        return self._parsed("test#dataset")

    def _figures(self, round_number: int) -> dict[str, float]:
        """Returns the numbers that leave the site. With privacy there is no loss, which would carry no noise."""
        loss = sum(self.watch.losses) / len(self.watch.losses)
        if self.privacy is None:
            return {"loss": loss}
        answers = sum(post_filter.answers for post_filter in self.post_weight_filters)
        logger.info("site %s, round %d: loss %.4f, kept here; answer number %d", self.site, round_number, loss, answers)
        return {"answers": answers}

    def _parsed(self, id_: str) -> Any:
        return self.workflow.parser.get_parsed_content(id_)

    def _receive(self, data: ExchangeObject, untrained: bool = False) -> None:
        self.manifest.check(data.weights, f"site {self.site!r}: received weights")
        set_weights(self.network, data.weights)
        self.local.set_weights(untrained)

    def _reseed(self, round_number: int) -> None:
        seed = zlib.crc32(f"{self.seed}/{self.site}/{round_number}".encode())
        set_determinism(seed)
        set_rnd(self.workflow.train_dataset, seed)  # MONAI's random transforms have their own state

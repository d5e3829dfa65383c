"""One call of a phase: its reporter, where its images are, and the phases in their order."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner.cli.phases import inputs as resolving
from packrunner.cli.phases.inputs import Inputs
from packrunner.console.reporters import choose
from packrunner.console.terminal import Terminal
from packrunner.errors import ArgumentsError, DetectError
from packrunner.events import Warned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.cli.phases.flags import Phase
    from packrunner.cli.session import Session
    from packrunner.events import Reporter
    from packrunner.lifecycle.phases.analyzing import Targets
    from packrunner.lifecycle.phases.exporting import Shipment
    from packrunner.lifecycle.phases.setting import Setting
    from packrunner.lifecycle.repository import Repository

_IMAGES = frozenset({"analyze", "export", "rebase", "create"})


class Performance:
    """`current` is the phase under way, for exit codes."""

    def __init__(self, phase: Phase, session: Session) -> None:
        self.phase = phase
        self.current: str = "" if phase == "create" else phase
        self.session = session

    def run(self, arguments: Sequence[str]) -> None:
        """Resolve the inputs and run the phase. Raises PackrunnerError."""
        if arguments and arguments[0] in {"-version", "--version"}:
            from packrunner._version import __version__

            self.session.result(f"packrunner {__version__}")
            return
        inputs = Inputs(self.phase, arguments, self.session.environ)
        self._report(inputs)
        setting = resolving.setting(inputs)
        with ExitStack() as stack:
            self._perform(inputs, setting, stack)

    def _perform(self, inputs: Inputs, setting: Setting, stack: ExitStack) -> None:
        if self.phase in _IMAGES:
            getattr(self, f"_{self.phase}")(inputs, setting, self._images(inputs, stack))
            return
        if inputs.words:
            raise ArgumentsError(f"{self.phase} takes no arguments, only flags: {inputs.words[0]}", slug="phase-flag")
        match self.phase:
            case "restore":
                # A run image that an extension chose, and a cache that is an image.
                needed = inputs.switch("layout") or setting.cache_image
                self._restore(setting, self._images(inputs, stack) if needed else None)
            case "extend":
                self._extend(inputs, setting)
            case _:
                getattr(self, f"_{self.phase}")(setting)
        if self.phase == "detect":
            self._extensions(inputs, setting)

    def _report(self, inputs: Inputs) -> None:
        quiet, verbose = inputs.log_level()
        self.session.color = "never" if inputs.switch("no-color") else "auto"
        self.session.verbose = verbose
        terminal = Terminal.of(sys.stderr, self.session.environ, self.session.color)
        self.session.reporter = choose(
            "plain", sys.stderr, terminal, quiet=quiet, verbose=verbose, redact=self.session.redact
        )

    @property
    def _reporter(self) -> Reporter:
        assert self.session.reporter
        return self.session.reporter

    def _images(self, inputs: Inputs, stack: ExitStack) -> Repository:
        """Where the platform's images are."""
        if inputs.switch("daemon"):
            raise ArgumentsError(
                "the phases do not work with a Docker daemon",
                slug="phase-repository",
                cause="images are read from and written to registries and OCI layouts",
                tries=("without -daemon, to a registry", "packrunner build --load"),
            )
        if not inputs.switch("layout"):
            insecure = inputs.many("insecure-registry")
            return stack.enter_context(self.session.services.registry(self._reporter, insecure=insecure))
        warning = inputs.experimental("the OCI layout format")
        if warning:
            self._reporter.emit(Warned(text=warning))
        directory = inputs.path("layout-dir")
        if not directory:
            raise ArgumentsError("-layout needs -layout-dir", slug="phase-flag")
        return self.session.services.layouts(directory)

    def _detect(self, setting: Setting) -> None:
        from packrunner.lifecycle.phases import detecting

        self.current = "detect"
        detecting.detect(setting, self.session.services.inline_engine(), self._reporter)

    def _generate(self, setting: Setting) -> None:
        from packrunner.lifecycle.phases import generating

        self.current = "generate"
        generating.generate(setting, self.session.services.inline_engine(), self._reporter)

    def _extensions(self, inputs: Inputs, setting: Setting) -> None:
        """What the reference's detector does too: extensions that were detected generate at once."""
        from packrunner.lifecycle.phases import documents

        if not documents.group(setting, DetectError).group_extensions:
            return
        self._experiment(inputs, setting)
        self._generate(setting)

    def _experiment(self, inputs: Inputs, setting: Setting) -> None:
        if not setting.features.extensions_stable:
            warning = inputs.experimental("image extensions")
            if warning:
                self._reporter.emit(Warned(text=warning))

    def _restore(self, setting: Setting, images: Repository | None = None) -> None:
        from packrunner.lifecycle.phases import restoring

        self.current = "restore"
        restoring.restore(setting, self._reporter, images)

    def _extend(self, inputs: Inputs, setting: Setting) -> None:
        """The run image, for export; or the build image, and then the build phase on it (EXT-14)."""
        from packrunner.lifecycle.phases import building, extending

        kind = inputs.text("kind")
        if kind not in {"build", "run"}:
            raise ArgumentsError(f"-kind={kind} is neither build nor run", slug="phase-flag")
        self._experiment(inputs, setting)
        services = self.session.services
        with services.extending(self._reporter) as tools:
            if kind == "run":
                extending.extend_run(setting, services.layouts("/"), tools)
                return
            image = extending.extend_build(setting, tools)
            self.current = "build"
            building.build(setting, services.engine(), self._reporter, image=image)

    def _build(self, setting: Setting) -> None:
        from packrunner.lifecycle.phases import building

        self.current = "build"
        building.build(setting, self.session.services.inline_engine(), self._reporter)

    def _analyze(self, inputs: Inputs, setting: Setting, images: Repository) -> None:
        self._analyzed(setting, resolving.targets(inputs), images)

    def _analyzed(self, setting: Setting, targets: Targets, images: Repository) -> None:
        from packrunner.lifecycle.phases import analyzing

        self.current = "analyze"
        analyzing.analyze(setting, targets, images, self._reporter)

    def _export(self, inputs: Inputs, setting: Setting, images: Repository) -> None:
        if not inputs.words:
            raise ArgumentsError("export needs at least one image", slug="phase-flag")
        self._exported(setting, self._shipment(inputs, inputs.words), images)

    def _exported(self, setting: Setting, shipment: Shipment, images: Repository) -> None:
        from packrunner.lifecycle.phases import exporting

        self.current = "export"
        result = exporting.export(setting, shipment, images, self._reporter)
        self.session.result(f"{shipment.names[0]}@{result.image.digest}")

    def _shipment(self, inputs: Inputs, names: tuple[str, ...]) -> Shipment:
        from packrunner.lifecycle.phases.exporting import Shipment

        return Shipment(
            names=tuple(dict.fromkeys(names)),
            launcher=inputs.path("launcher") or self.session.services.launcher(),
            launcher_sboms=inputs.path("launcher-sbom"),
            process_type=inputs.text("process-type"),
            source_date_epoch=inputs.environ.get("SOURCE_DATE_EPOCH"),
        )

    def _rebase(self, inputs: Inputs, setting: Setting, images: Repository) -> None:
        from packrunner.lifecycle.phases import rebasing

        wanted = rebasing.Rebasing(
            targets=resolving.targets(inputs),
            force=inputs.switch("force"),
            source_date_epoch=inputs.environ.get("SOURCE_DATE_EPOCH"),
        )
        made = rebasing.rebase(setting, wanted, images, self._reporter)
        self.session.result(f"{wanted.targets.names[0]}@{made.digest}")

    def _create(self, inputs: Inputs, setting: Setting, images: Repository) -> None:
        """All phases, as one after another would do them (EXC-06)."""
        from packrunner.lifecycle.phases import documents

        targets = resolving.targets(inputs)
        shipment = self._shipment(inputs, targets.names)
        self._analyzed(setting, targets, images)
        self._detect(setting)
        if documents.group(setting, DetectError).group_extensions:
            raise DetectError(
                "create cannot extend images, and the group has extensions",
                slug="create-extensions",
                tries=("the phases one by one: generate and extend are phases of their own",),
            )
        self._restore(setting)
        self._build(setting)
        self._exported(setting, shipment, images)

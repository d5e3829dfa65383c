"""What the previous image and the run image say."""

from __future__ import annotations

import tomllib

import pytest
from msgspec.structs import replace

from packrunner.formats import labels, toml
from packrunner.formats.platform import RunTarget
from packrunner.images.image import Image
from packrunner.lifecycle.analyze import RunImage, analyze

RUN = RunImage(
    image=Image(labels={"io.buildpacks.stack.id": "old.stack"}),
    name="debian:13",
    reference="debian:13@sha256:" + "0" * 64,
    target=RunTarget("linux", "arm64", "v8", "debian", "13"),
)


@pytest.mark.cnb("RES-01")
def test_a_first_build() -> None:
    result = analyze(None, name="shop", run=RUN)
    assert result.previous is None
    assert result.label == labels.LifecycleLabel()
    assert set(tomllib.loads(toml.encode(result.analyzed).decode())) == {"run-image"}


@pytest.mark.cnb("RES-02")
@pytest.mark.parametrize("text", ["{", "[]", '{"buildpacks": 1}', '{"buildpacks": [{"key": 1}]}', "null", ""])
def test_a_broken_label_is_a_first_build(text: str) -> None:
    result = analyze(Image(labels={labels.LIFECYCLE: text}), name="shop", run=RUN)
    assert result.label == labels.LifecycleLabel()


@pytest.mark.cnb("RES-03")
@pytest.mark.cnb("RES-04")
def test_analyzed_toml() -> None:
    label = labels.LifecycleLabel(
        app=(labels.Sha(sha="sha256:a"),),
        process_types=labels.Sha(sha="sha256:p"),
        buildpacks=(
            labels.BuildpackRecord(
                key="acme/a",
                version="1.0.0",
                layers={"x": labels.LayerRecord(sha="sha256:x", launch=True, data={"n": 1})},
            ),
        ),
        run_image=labels.RunImageRecord(top_layer="sha256:t", reference="r", image="i"),
        stack=labels.StackRecord(run_image=labels.StackRunImage(image="i")),
    )
    previous = Image(labels={labels.LIFECYCLE: labels.to_json(label)})
    result = analyze(previous, name="shop", run=RUN)
    assert result.label == label
    assert tomllib.loads(toml.encode(result.analyzed).decode()) == {
        "image": {"reference": f"shop@{previous.digest}"},
        "metadata": {
            "app": [{"sha": "sha256:a"}],
            "process-types": {"sha": "sha256:p"},
            "buildpacks": [
                {
                    "key": "acme/a",
                    "version": "1.0.0",
                    "layers": {
                        "x": {"sha": "sha256:x", "data": {"n": 1}, "build": False, "launch": True, "cache": False}
                    },
                }
            ],
            "run-image": {"top-layer": "sha256:t", "reference": "r", "image": "i"},
            "stack": {"run-image": {"image": "i"}},
        },
        "run-image": {
            "reference": RUN.reference,
            "image": "debian:13",
            "target": {
                "os": "linux",
                "arch": "arm64",
                "arch-variant": "v8",
                "id": "old.stack",
                "distro": {"name": "debian", "version": "13"},
            },
        },
    }


def test_a_run_image_without_distribution() -> None:
    result = analyze(None, name="shop", run=replace(RUN, target=RunTarget("linux", "amd64")))
    assert result.analyzed.run_image is not None
    assert result.analyzed.run_image.target is not None
    assert result.analyzed.run_image.target.distro is None

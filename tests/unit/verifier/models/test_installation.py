"""Exactly one OpenCV, exactly one onnxruntime."""

import pytest

from verifier.errors import InstallationError
from verifier.models.installation import check_installation, engine_versions

GOOD = ["numpy", "opencv-python-headless", "onnxruntime", "onnx", "onnxruntime-extensions"]


def test_this_environment_passes():
    """What these tests run in is what production asks for."""
    check_installation()


def test_versions_of_what_computes_are_named():
    """One OpenCV and one onnxruntime at least, each with its version, and nothing else."""
    import cv2
    import onnxruntime

    versions = engine_versions()
    assert versions["opencv-python-headless"].startswith(cv2.__version__)
    assert onnxruntime.__version__ in versions.values()
    assert set(versions) <= {"opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino"}


def test_one_of_each_passes():
    """A CPU and a GPU installation pass, however the names are spelt."""
    check_installation(GOOD)
    check_installation(["OpenCV_Python.Headless", "onnxruntime_gpu"])


@pytest.mark.parametrize(
    ("extra", "culprits", "command"),
    [
        (
            "opencv-python",
            "opencv-python and opencv-python-headless",
            "pip uninstall -y opencv-python opencv-python-headless && pip install --no-deps",
        ),
        (
            "opencv-contrib-python",
            "opencv-contrib-python and opencv-python-headless",
            "pip uninstall -y opencv-contrib-python opencv-python-headless",
        ),
        (
            "onnxruntime-gpu",
            "onnxruntime and onnxruntime-gpu",
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'benren[cpu]'",
        ),
        (
            "onnxruntime_directml",
            "onnxruntime and onnxruntime-directml",
            "pip uninstall -y onnxruntime onnxruntime-directml",
        ),
    ],
)
def test_two_that_overwrite_each_other_are_named(extra, culprits, command):
    """The message names the culprits, the remedy is the commands to type."""
    with pytest.raises(InstallationError, match=culprits) as caught:
        check_installation([*GOOD, extra])
    assert command in caught.value.remedy


@pytest.mark.parametrize(
    ("missing", "message"),
    [("opencv-python-headless", "nothing"), ("onnxruntime", "No onnxruntime is installed")],
)
def test_none_at_all_is_told_too(missing, message):
    """Without one of them the remedy installs it and uninstalls nothing."""
    with pytest.raises(InstallationError, match=message) as caught:
        check_installation([name for name in GOOD if name != missing])
    assert "pip install" in caught.value.remedy
    assert "uninstall" not in caught.value.remedy


def test_the_opencv_with_windows_is_not_enough():
    """opencv-python alone works on a desk and fails in a container: refused here already."""
    with pytest.raises(InstallationError, match="Installed for OpenCV: opencv-python;"):
        check_installation(["opencv-python", "onnxruntime"])

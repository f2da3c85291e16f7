"""PET to standardised uptake values: a worked example, and what must not be guessed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from fedmed_transforms.preprocessing.uptake import ToUptake, ToUptaked

HALF_LIFE = 6588.0
"""Of fluorine-18, in seconds: 109.8 minutes."""

PET: dict[str, Any] = {
    "Modality": "PT",
    "Units": "BQML",
    "CorrectedImage": r"NORM\DTIM\ATTN\SCAT\DECY",
    "DecayCorrection": "START",
    "SeriesDate": "20240115",
    "SeriesTime": "114948",
    "AcquisitionDate": "20240115",
    "AcquisitionTime": "114948",
    "PatientWeight": 70.0,
    "RadiopharmaceuticalStartTime": "100000",
    "RadionuclideTotalDose": 350e6,
    "RadionuclideHalfLife": HALF_LIFE,
}
"""350 MBq at 10:00:00, scanned one half-life (1 h 49 min 48 s) later: 175 MBq are left in 70 kg, 2500 Bq in a gram."""


def pet(value: float = 5000.0, **changed: Any) -> MetaTensor:
    dicom = {keyword: str(element) for keyword, element in {**PET, **changed}.items() if element is not None}
    return MetaTensor(torch.full((1, 2, 2, 2), value), meta={"filename_or_obj": "pet.dcm", "dicom": dicom})


def uptake(value: float = 5000.0, **changed: Any) -> float:
    found = ToUptake()(pet(value, **changed))
    assert found.shape == (1, 2, 2, 2) and float(found.max()) == float(found.min())
    return float(found.max())


def test_worked_example() -> None:
    """5000 Bq/mL, at 2500 Bq/g on average: twice the average."""
    assert uptake() == pytest.approx(2.0, rel=1e-6)
    assert uptake(value=2500.0, PatientWeight=35.0) == pytest.approx(0.5, rel=1e-6)


def test_half_an_hour_after_the_administration() -> None:
    """60 minutes: 2 ** (-3600 / 6588) = 0.684708, so 239.648 MBq are left, 3423.54 Bq in a gram."""
    assert uptake(SeriesTime="110000.00", AcquisitionTime="110000") == pytest.approx(5000 / 3423.54, rel=1e-5)


def test_corrected_to_the_administration_needs_no_times() -> None:
    """5000 Bq in a gram, if nothing had decayed."""
    times = dict.fromkeys(("SeriesTime", "AcquisitionTime", "RadiopharmaceuticalStartTime", "RadionuclideHalfLife"))
    assert uptake(DecayCorrection="ADMIN", **times) == pytest.approx(1.0)


def test_series_that_was_processed_later_counts_from_its_acquisition() -> None:
    assert uptake(SeriesTime="163000") == pytest.approx(2.0, rel=1e-6)
    assert uptake(SeriesDate="20240117") == pytest.approx(2.0, rel=1e-6)


def test_acquisition_of_a_later_bed_counts_from_the_series() -> None:
    assert uptake(AcquisitionTime="121500") == pytest.approx(2.0, rel=1e-6)


def test_administration_before_midnight() -> None:
    scan = {"SeriesTime": "004948", "AcquisitionTime": "004948"}
    assert uptake(**scan, RadiopharmaceuticalStartTime="230000") == pytest.approx(2.0, rel=1e-6)
    dated = {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20240114230000.000000+0100"}
    assert uptake(**scan, **dated) == pytest.approx(2.0, rel=1e-6)


def test_date_of_the_administration_goes_before_its_time() -> None:
    dated = uptake(RadiopharmaceuticalStartDateTime="20240115100000", RadiopharmaceuticalStartTime="110000")
    assert dated == pytest.approx(2.0, rel=1e-6)


def test_image_that_is_uptake_already_stays() -> None:
    image = pet(value=3.0, Units="GML", PatientWeight=None)
    assert ToUptake()(image) is image
    once = ToUptake()(pet())
    torch.testing.assert_close(ToUptake()(once), once)
    with pytest.raises(ValueError, match=r"pet\.dcm: SUVType: found LBM, expected BW"):
        ToUptake()(pet(Units="GML", SUVType="LBM"))


def test_source_is_left_as_it_was() -> None:
    image = pet()
    ToUptake()(image)
    assert (
        image.meta["dicom"] == {keyword: str(element) for keyword, element in PET.items()}
        and float(image.max()) == 5000
    )


@pytest.mark.parametrize("keyword", [keyword for keyword in PET])
@pytest.mark.parametrize("empty", [None, ""])
def test_missing_element_is_named_with_the_file(keyword: str, empty: Any) -> None:
    with pytest.raises(ValueError, match=rf"pet\.dcm: found no {keyword}, expected"):
        ToUptake()(pet(**{keyword: empty}))


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("Modality", "CT", "Modality: found CT, expected PT"),
        ("Units", "CNTS", "Units: found CNTS, expected BQML or GML"),
        ("CorrectedImage", "DECY", "CorrectedImage: found ['DECY'], expected ATTN and DECY"),
        ("DecayCorrection", "NONE", "DecayCorrection: found NONE, expected START or ADMIN"),
        ("PatientWeight", 0, "PatientWeight: found 0, expected a positive number"),
        ("RadionuclideTotalDose", float("nan"), "RadionuclideTotalDose: found nan, expected a positive number"),
        ("RadionuclideHalfLife", "long", "RadionuclideHalfLife: found 'long', expected a number"),
        ("SeriesTime", "noon", "SeriesTime: found 'noon', expected a DICOM TM"),
        ("AcquisitionDate", "15.01.2024", "AcquisitionDate: found '15.01.2024', expected a DICOM DA"),
        ("RadiopharmaceuticalStartTime", "120000", "found a scan 85788 s after"),
        ("RadiopharmaceuticalStartDateTime", "20240115120000", "found a scan -612 s after"),
        ("RadiopharmaceuticalStartDateTime", "19700101100000", "expected 0 to 10 half-lives of 6588 s"),
    ],
)
def test_contradictions_are_refused_with_the_file(keyword: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        ToUptake()(pet(**{keyword: value}))
    assert str(refused.value).startswith("pet.dcm: ") and message in str(refused.value)


def test_tensor_without_metadata_is_refused() -> None:
    with pytest.raises(ValueError, match="image: found no Modality"):
        ToUptake()(torch.ones(1, 2, 2, 2))


def test_dictionary_form_keeps_the_rest() -> None:
    found = ToUptaked("pet")({"pet": pet(), "ct": 7})
    assert found["ct"] == 7 and float(found["pet"].max()) == pytest.approx(2.0, rel=1e-6)
    assert ToUptaked(("pet", "absent"), allow_missing_keys=True)({"pet": pet()}).keys() == {"pet"}

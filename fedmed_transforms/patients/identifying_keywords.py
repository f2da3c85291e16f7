"""Lists the DICOM elements that identify: keywords as in DICOM PS3.6, by the tables of PS3.15, Annex E."""

from __future__ import annotations

IDENTIFYING = frozenset(
    (
        # the patient
        "PatientID", "IssuerOfPatientID", "OtherPatientIDs", "MedicalRecordLocator", "InsurancePlanIdentification",
        "PatientInsurancePlanCodeSequence", "ReferencedPatientAliasSequence", "PatientBirthDate", "PatientBirthTime",
        "PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar", "PatientAddress",
        "PatientTelephoneNumbers", "PatientTelecomInformation", "CountryOfResidence", "RegionOfResidence",
        "MilitaryRank", "BranchOfService", "PatientComments", "ReferencedPatientPhotoSequence",
        # the visit and the order
        "AccessionNumber", "AdmissionID", "ServiceEpisodeID", "CurrentPatientLocation", "PatientInstitutionResidence",
        "RequestedProcedureID", "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest",
        "OrderCallbackPhoneNumber", "OrderCallbackTelecomInformation", "StudyID", "PerformedProcedureStepID",
        "ScheduledProcedureStepID", "ResultsID", "InterpretationID", "StudyIDIssuer", "IssuerOfAdmissionID",
        # the trial
        "ClinicalTrialSubjectID", "IssuerOfClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID",
        "IssuerOfClinicalTrialSubjectReadingID", "ClinicalTrialSiteID", "IssuerOfClinicalTrialSiteID",
        "ClinicalTrialSiteName", "ClinicalTrialCoordinatingCenterName", "ClinicalTrialProtocolEthicsCommitteeName",
        "ClinicalTrialProtocolEthicsCommitteeApprovalNumber", "ClinicalTrialTimePointID", "ClinicalTrialSeriesID",
        # specimens and their containers
        "SpecimenIdentifier", "SpecimenAccessionNumber", "SpecimenLabelInImage", "SlideIdentifier",
        "ContainerIdentifier", "IssuerOfTheContainerIdentifierSequence", "AlternateContainerIdentifierSequence",
        "IssuerOfTheSpecimenIdentifierSequence", "ContainerComponentID", "LabelText", "BarcodeValue",
        # staff, besides their names
        "PersonAddress", "PersonTelephoneNumbers", "PersonTelecomInformation", "PersonIdentificationCodeSequence",
        "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers",
        "ReferringPhysicianIdentificationSequence", "OperatorIdentificationSequence",
        # the institution
        "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "InstitutionCodeSequence",
        "RequestingService", "ResponsibleOrganization", "VerifyingOrganization", "CustodialOrganizationSequence",
        # the device
        "StationName", "PerformedStationName", "ScheduledStationName", "PerformedStationAETitle",
        "ScheduledStationAETitle", "RetrieveAETitle", "StationAETitle", "DeviceSerialNumber", "DeviceUID",
        "DetectorID", "GantryID", "GeneratorID", "PlateID", "CassetteID", "UniqueDeviceIdentifier",
        # content besides the picture
        "EncapsulatedDocument", "IconImageSequence", "DigitalSignaturesSequence", "EncryptedAttributesSequence",
    )
)  # fmt: skip
"""Keywords of identifying elements other than person names."""

FLAGS = frozenset(("BurnedInAnnotation", "RecognizableVisualFeatures", "SpecimenLabelInImage"))
"""Keywords of elements that identify if their value is YES: the pixels show a name or a face."""

COUNTERS = {"StudyID": "1"}
"""Values that tell nothing: a patient's first study."""

PSEUDONYMS = frozenset(("PatientName", "PatientID"))
"""Keywords of elements that hold a pseudonym if PatientIdentityRemoved is YES."""

PATIENT_NAMES = frozenset(("PatientName", "OtherPatientNames", "PatientBirthName"))
PATIENT_NUMBERS = frozenset(("PatientID", "OtherPatientIDs", "AccessionNumber", "MedicalRecordLocator"))

FREE_TEXTS = frozenset(("LO", "LT", "SH", "ST", "UC", "UT"))
"""Value representations in which a name is searched for."""

OVERLAYS = {
    0x0022: "OverlayDescription", 0x1500: "OverlayLabel", 0x4000: "OverlayComments",
    0x3000: "OverlayData: possible burnt-in text",
}  # fmt: skip
CURVES = {
    0x0022: "CurveDescription", 0x0030: "AxisUnits", 0x0040: "AxisLabels", 0x2500: "CurveLabel",
    0x3000: "CurveData",
}  # fmt: skip
"""Elements of the repeating groups 60xx and 50xx, by the number of the element in its group."""

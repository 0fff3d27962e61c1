"""CLAIM, the Checklist for AI in Medical Imaging, update of 2024: its 44 items in our words.

Numbers and order are those of Tejani et al. 2024 (Radiology: Artificial Intelligence 6(4):e240300).
"""

from cxr.checklist import about_data, about_model, about_results
from cxr.checklist.answer import Answer, Fill, Item, by_author, partly
from cxr.checklist.facts import Facts


def _protocol(facts: Facts) -> Answer:
    return partly(
        f"config.yaml and the checkpoint (SHA-256 {facts.sha256[:16]}...) repeat the computation.",
        "Where the protocol of the study can be read.",
    )


def _availability(facts: Facts) -> Answer:
    return partly(
        f"Software: cxr {facts.versions.get('cxr', '')}.",
        "Where the model and the data can be had, and under which conditions.",
    )


_ITEMS: tuple[tuple[str, str, Fill], ...] = (
    ("Title", "A study of AI, with the kind of method", by_author("A title that names deep learning.")),
    ("Abstract", "Summary of design, methods, results, conclusions", by_author("The abstract.")),
    ("Introduction", "Background, intended use and role", by_author("Background and intended use.")),
    ("Introduction", "Aims and hypotheses", by_author("Aims and hypotheses.")),
    (
        "Study design",
        "Prospective or retrospective",
        by_author("Whether data were collected before or after."),
    ),
    ("Study design", "Goal of the study", by_author("The goal, such as feasibility or non-inferiority.")),
    ("Data", "Sources of the data", about_data.sources),
    ("Data", "Who and what is included and excluded", about_data.inclusion),
    ("Data", "Pre-processing", about_data.preprocessing),
    ("Data", "Selection of subsets", about_data.subsets),
    ("Data", "De-identification", by_author("How images were de-identified.")),
    ("Data", "Handling of missing data", about_data.missing_data),
    ("Data", "How images were acquired", about_data.acquisition),
    ("Reference standard", "How the reference standard was obtained", about_data.reference_standard),
    ("Reference standard", "Why this reference standard", by_author("Why these labels are good enough.")),
    ("Reference standard", "Who annotated", about_data.reference_standard),
    ("Reference standard", "Annotation of the test set", about_data.test_labels),
    ("Reference standard", "Variability within and between annotators", about_data.rater_variability),
    ("Data partitions", "How data were assigned to partitions", about_data.partitions),
    ("Data partitions", "Level at which partitions share nothing", about_data.disjoint),
    ("Testing data", "Intended sample size", about_data.sample_size),
    ("Model", "Description of the model", about_model.model),
    ("Model", "Software and versions", about_model.software),
    ("Model", "Initial parameters", about_model.initialisation),
    ("Training", "How the model was trained", about_model.training),
    ("Training", "How the final model was chosen", about_model.selection),
    ("Training", "Ensembles", about_model.ensemble),
    ("Evaluation", "Metrics", about_results.metrics),
    ("Evaluation", "Significance and uncertainty", about_results.uncertainty),
    ("Evaluation", "Robustness or sensitivity", about_results.robustness),
    ("Evaluation", "Explanations of the model", about_results.explanations),
    ("Evaluation", "Evaluation on internal data", about_results.internal_test),
    ("Evaluation", "Test on external data", about_results.external_test),
    ("Evaluation", "Registration of a trial", by_author("The registration, or that there is none.")),
    ("Results: data", "Patients or examinations included and excluded", about_data.flow),
    ("Results: data", "Demographic and clinical characteristics by partition", about_data.characteristics),
    ("Results: model", "Performance with its uncertainty", about_results.by_group),
    ("Results: model", "Diagnostic performance with its precision", about_results.diagnostic),
    ("Results: model", "Analysis of incorrect results", about_results.failures),
    ("Discussion", "Limitations", about_results.limitations),
    ("Discussion", "Implications for practice", by_author("What follows for practice.")),
    ("Other", "Protocol or further technical details", _protocol),
    ("Other", "Availability of software, model and data", _availability),
    ("Other", "Funding and the role of funders", by_author("Funding and the role of funders.")),
)


def fill(facts: Facts) -> list[Item]:
    """The items with what the run says to them."""
    return [
        Item(str(number), section, asked, answer(facts))
        for number, (section, asked, answer) in enumerate(_ITEMS, 1)
    ]

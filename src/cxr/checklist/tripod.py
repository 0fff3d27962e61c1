"""TRIPOD+AI, the checklist for prediction models: its 27 items (52 with parts) in our words.

Numbers and order are those of Collins et al. 2024 (BMJ 385:e078378), table 2.
"""

from cxr.checklist import about_data, about_model, about_results
from cxr.checklist.answer import Answer, Fill, Item, by_author, partly, provided
from cxr.checklist.facts import Facts


def _outcome(facts: Facts) -> Answer:
    reference = about_data.reference_standard(facts)
    said = f"Findings at the time of the image: {', '.join(facts.findings)}. {reference.said}".strip()
    return partly(said, "How and when findings were assessed, why these, and whether alike in all groups.")


def _predictors(facts: Facts) -> Answer:
    del facts
    return provided("The pixels of the image alone; no clinical variable.")


def _defined_predictors(facts: Facts) -> Answer:
    return partly(about_data.describe_preprocessing(facts), "How and when images were taken.")


def _readers_of_predictors(facts: Facts) -> Answer:
    del facts
    return provided("No predictor is assessed by a person.")


def _building(facts: Facts) -> Answer:
    said = f"{about_model.describe_model(facts)} {about_model.describe_training(facts)}"
    return partly(
        f"{said} {about_model.describe_selection(facts)}", "Why this model; which settings were tried."
    )


def _measures(facts: Facts) -> Answer:
    found = about_results.metrics(facts)
    if found.status != "provided":
        return found
    utility = "" if facts.has_table("decision_curve.csv") else "; clinical utility, where decisions are meant"
    return partly(found.said, f"Why these{utility}.")


def _counts(facts: Facts) -> Answer:
    if facts.data is None:
        return about_data.flow(facts)
    return provided(f"{about_data.describe_splits(facts)} Positive images of each finding by split: Table 1.")


def _code(facts: Facts) -> Answer:
    return partly(
        f"Software: cxr {facts.versions.get('cxr', '')}.", "Where the code of the study can be had."
    )


_ITEMS: tuple[tuple[str, str, str, Fill], ...] = (
    ("1", "Title", "Development or evaluation, population, outcome", by_author("The title.")),
    ("2", "Abstract", "TRIPOD+AI for Abstracts", by_author("The abstract, by its own checklist.")),
    ("3a", "Introduction", "Context and reason, existing models", by_author("Context and existing models.")),
    ("3b", "Introduction", "Population, purpose, intended users", by_author("Whom and what it is for.")),
    ("3c", "Introduction", "Known health inequalities", by_author("Known inequalities between groups.")),
    ("4", "Introduction", "Objectives", by_author("Objectives: development, evaluation or both.")),
    ("5a", "Data", "Sources for development and evaluation", about_data.sources),
    ("5b", "Data", "Dates", by_author("First and last date of the images.")),
    ("6a", "Participants", "Setting, number and place of centres", by_author("Setting and centres.")),
    ("6b", "Participants", "Eligibility", about_data.inclusion),
    (
        "6c",
        "Participants",
        "Treatments",
        by_author("Treatments, such as drains and tubes, and their handling."),
    ),
    ("7", "Data preparation", "Pre-processing and quality checks", about_data.preprocessing),
    ("8a", "Outcome", "Definition, time and assessment", _outcome),
    ("8b", "Outcome", "Who assessed it", by_author("Qualification and demographics of the assessors.")),
    ("8c", "Outcome", "Blinding of its assessment", by_author("What assessors knew.")),
    ("9a", "Predictors", "Choice of predictors", _predictors),
    ("9b", "Predictors", "Definition and measurement", _defined_predictors),
    ("9c", "Predictors", "Who assessed them", _readers_of_predictors),
    ("10", "Sample size", "How the size was arrived at", about_data.sample_size),
    ("11", "Missing data", "Handling, and reasons for leaving out", about_data.missing_data),
    ("12a", "Analysis", "Use and partition of the data", about_data.partitions),
    ("12b", "Analysis", "Handling of predictors", about_data.preprocessing),
    ("12c", "Analysis", "Kind of model, its building, internal validation", _building),
    ("12d", "Analysis", "Heterogeneity between clusters", about_results.clusters),
    ("12e", "Analysis", "Measures and plots of performance", _measures),
    ("12f", "Analysis", "Updating of the model", about_model.recalibration),
    ("12g", "Analysis", "How predictions were calculated", about_model.calculation),
    ("13", "Class imbalance", "Methods and recalibration after them", about_model.imbalance),
    ("14", "Fairness", "Approaches and reasons", about_results.fairness),
    ("15", "Model output", "Output and thresholds", about_model.output),
    ("16", "Training versus evaluation", "Differences between both data", about_data.differences),
    ("17", "Ethics", "Approval and consent", by_author("Ethics committee, and consent or its waiver.")),
    ("18a", "Open science", "Funding", by_author("Funding and the role of funders.")),
    ("18b", "Open science", "Conflicts of interest", by_author("Conflicts of interest.")),
    ("18c", "Open science", "Protocol", by_author("Where the protocol is, or that there is none.")),
    ("18d", "Open science", "Registration", by_author("The registration, or that there is none.")),
    ("18e", "Open science", "Data", by_author("Whether and where the data can be had.")),
    ("18f", "Open science", "Code", _code),
    (
        "19",
        "Involvement",
        "Patients and public",
        by_author("How patients were involved, or that they were not."),
    ),
    ("20a", "Results: participants", "Flow of participants", about_data.flow),
    ("20b", "Results: participants", "Characteristics", about_data.characteristics),
    ("20c", "Results: participants", "Comparison with the development data", about_data.differences),
    ("21", "Results: development", "Participants and outcomes in each analysis", _counts),
    ("22", "Results: specification", "The full model", about_model.specification),
    ("23a", "Results: performance", "Performance with intervals, by group as well", about_results.by_group),
    ("23b", "Results: performance", "Heterogeneity between clusters", about_results.clusters),
    ("24", "Results: updating", "Performance after updating", about_results.updated),
    ("25", "Discussion", "Interpretation and fairness", by_author("The interpretation.")),
    ("26", "Discussion", "Limitations", about_results.limitations),
    ("27a", "Discussion", "Poor or missing input in use", about_model.poor_input),
    ("27b", "Discussion", "What users must do and know", by_author("What users must do and know.")),
    ("27c", "Discussion", "Next steps", by_author("Next steps, with applicability to others.")),
)


def fill(facts: Facts) -> list[Item]:
    """The items with what the run says to them."""
    return [Item(number, section, asked, answer(facts)) for number, section, asked, answer in _ITEMS]

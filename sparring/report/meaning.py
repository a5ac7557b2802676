"""What a score means, in one sentence for people who did not choose it."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Meaning(NamedTuple):
    """A sentence, which way is better ("" where neither is), and the value of real data to hold it against."""

    sentence: str
    better: Literal["lower", "higher", ""] = ""
    yardstick: str = ""


MEANINGS = {
    "fid": Meaning(
        "Fréchet distance between samples and real data in the features named above; 0 would be perfect.",
        "lower",
        "fid_real",
    ),
    "fid_real": Meaning("The same distance for real data themselves: as low as so many samples can come."),
    "fid_held_out": Meaning("The same distance to real data that were set aside and not trained on.", "lower"),
    "fid_inf": Meaning("The Fréchet distance, extended to infinitely many samples.", "lower"),
    "fid_class_mean": Meaning("The Fréchet distance within each class, averaged over the classes.", "lower"),
    "fid_class_worst": Meaning("The Fréchet distance within the class that is met worst.", "lower"),
    "kid": Meaning(
        "Kernel distance between samples and real data; about 0 for equal ones, and then at times below.", "lower"
    ),
    "inception_score": Meaning(
        "How clearly samples belong to one class and how evenly to all of them; at most the number of classes.",
        "higher",
        "inception_score_real",
    ),
    "inception_score_real": Meaning("The same score of real data."),
    "precision": Meaning("Share of samples that lie where real data lie.", "higher"),
    "recall": Meaning("Share of real data that lie where samples lie.", "higher"),
    "density": Meaning("How densely real data surround the samples; 1 for equal ones, more for those that play safe."),
    "coverage": Meaning("Share of real data with a sample close by.", "higher", "coverage_real"),
    "coverage_real": Meaning("What samples of the real distribution itself would get on average."),
    "classes_covered": Meaning("Classes that get more than a negligible share of the samples.", "higher"),
    "class_min": Meaning("Share of the rarest class among the samples."),
    "class_max": Meaning("Share of the commonest class among the samples."),
    "class_kl": Meaning("How far the shares of the classes are from those of the real data; 0 is equal.", "lower"),
    "confident": Meaning("Share of samples that are read as one class with confidence.", "higher"),
    "label_accuracy": Meaning("Share of samples that show the class that was asked for.", "higher"),
    "num_modes": Meaning("Modes of the data that at least one sample meets.", "higher"),
    "mixture_kl": Meaning(
        "How far the shares of samples in each mode, and beside them all, are from those of the law.",
        "lower",
        "mixture_kl_floor",
    ),
    "mixture_kl_floor": Meaning("About what perfect samples would get with so many of them."),
    "modes_kl": Meaning("How far the shares of the modes are from even; 0 is even.", "lower", "modes_kl_floor"),
    "modes_kl_floor": Meaning("About what even shares would give with so many samples."),
    "divergence": Meaning("How far samples and real data are apart, in nats; 0 for equal ones.", "lower"),
    "kl_forward": Meaning("The same from the real data's side: large where some of them are not met.", "lower"),
    "kl_reverse": Meaning("The same from the samples' side: large where they lie beside the data.", "lower"),
    "high_quality": Meaning("Share of samples within three standard deviations of a mode.", "higher"),
    "nn_accuracy": Meaning(
        "How often the nearest neighbour tells a sample from real data: one half is best, 1 says always, and below "
        "one half samples sit close to single real data."
    ),
    "nn_accuracy_real": Meaning("The same, for the real data alone."),
    "nn_accuracy_fake": Meaning("The same, for the samples alone."),
    "vendi": Meaning("How many different samples there are in effect.", "", "vendi_real"),
    "vendi_real": Meaning("The same number for real data."),
    "authentic_share": Meaning(
        "Share of samples that are farther from the nearest training sample than that one is from the next.",
        "",
        "authentic_share_held_out",
    ),
    "authentic_share_held_out": Meaning("The same share for real data that were not trained on."),
    "ct": Meaning("Below about -3 samples sit closer to training data than unseen real data do: they may be copies."),
    "copies": Meaning("Share of samples closer to a training sample than almost all unseen real data are.", "lower"),
    "copies_held_out": Meaning("The same share of real data that were not trained on."),
    "parzen": Meaning("Log-likelihood of unseen data under a Parzen window on the samples, in nats."),
    "parzen_sigma": Meaning("The width of that window."),
    "spectrum": Meaning(
        "How far the power spectra of the series are from the real ones, in decibels; 0 is equal.",
        "lower",
        "spectrum_real",
    ),
    "spectrum_real": Meaning("What as many real series get."),
    "autocorrelation": Meaning(
        "How far what the past of a series says of its future is from the real ones; 0 is equal.",
        "lower",
        "autocorrelation_real",
    ),
    "autocorrelation_real": Meaning("What as many real series get."),
    "cross_correlation": Meaning(
        "How far the correlations between columns are from the real ones; 0 is equal.",
        "lower",
        "cross_correlation_real",
    ),
    "cross_correlation_real": Meaning("What as many real series get."),
    "marginals": Meaning(
        "How far the values, whenever they were met, are from the real ones, in standard deviations; 0 is equal.",
        "lower",
        "marginals_real",
    ),
    "marginals_real": Meaning("What as many real series get."),
    "discriminative": Meaning(
        "How much better than by chance a small network tells series from real ones: from 0, never, to .5, always.",
        "lower",
        "discriminative_real",
    ),
    "discriminative_real": Meaning("What chance alone gives."),
    "predictive": Meaning(
        "Error of foretelling real series, as a share of their range, by a network that learned from the samples.",
        "lower",
        "predictive_real",
    ),
    "predictive_real": Meaning("The error of a network that learned from as many real series."),
    "predictive_last": Meaning("The error of foretelling that nothing changes."),
    "ngrams": Meaning(
        "How far the shares of short sequences of tokens are from the real ones: 0 is equal, 1 has none in common.",
        "lower",
        "ngrams_real",
    ),
    "ngrams_real": Meaning("What as many real texts get."),
    "ngrams_1": Meaning("The same for single tokens."),
    "ngrams_2": Meaning("The same for sequences of two tokens."),
    "ngrams_3": Meaning("The same for sequences of three tokens."),
    "ngrams_4": Meaning("The same for sequences of four tokens."),
    "validity": Meaning(
        "Share of texts all of whose short sequences of tokens occur in real texts.", "higher", "validity_real"
    ),
    "validity_real": Meaning("The same share of real texts that were not looked at."),
    "self_bleu": Meaning(
        "How alike the texts are to each other: best where real texts are, more where they repeat each other.",
        "",
        "self_bleu_real",
    ),
    "self_bleu_real": Meaning("How alike real texts are to each other."),
    "distinct": Meaning("Share of texts that repeat no earlier one.", "higher", "distinct_real"),
    "distinct_real": Meaning("The same share of real texts."),
    "copied": Meaning("Share of texts that are in the training data letter by letter.", "lower", "copied_held_out"),
    "copied_held_out": Meaning("The same share of real texts that were not trained on."),
    "nearest_text": Meaning(
        "Share of a text that must be changed to make the nearest text of the training data of it; 0 is a copy.",
        "",
        "nearest_text_held_out",
    ),
    "nearest_text_held_out": Meaning("The same for real texts that were not trained on."),
    "pairs": Meaning(
        "How far pairs of columns are from the real ones, on average: 0 is equal, 1 has nothing in common.",
        "lower",
        "pairs_real",
    ),
    "pairs_real": Meaning("What as many real rows get."),
    "correlations": Meaning(
        "How far the correlations between numbers are from the real ones; 0 is equal.", "", "correlations_real"
    ),
    "correlations_real": Meaning("What as many real rows get."),
    "associations": Meaning(
        "How far the associations between categories are from the real ones; 0 is equal.", "", "associations_real"
    ),
    "associations_real": Meaning("What as many real rows get."),
    "utility": Meaning(
        "How well a column of real rows is foretold by what learned from the samples; 1 would be perfect.",
        "higher",
        "utility_real",
    ),
    "utility_real": Meaning("How well it is foretold by what learned from as many real rows."),
    "nearer_to_training": Meaning(
        "Share of samples nearer to a row trained on than to as many unseen rows: .5 without memory, 1 for copies."
    ),
    "same_record": Meaning("Share of samples that equal a row trained on.", "lower", "same_record_held_out"),
    "same_record_held_out": Meaning("The same share of real rows that were not trained on."),
    "columns": Meaning(
        "How far the columns, each by itself, are from the real ones, on average: 0 is equal, 1 has nothing in common.",
        "lower",
        "columns_real",
    ),
    "columns_real": Meaning("What as many real rows get."),
    "columns_worst": Meaning("The same for the column that is met worst."),
    "path_length": Meaning("How fast samples change along paths through the noise; lower is smoother.", "lower"),
}


def meaning(name: str) -> Meaning:
    """What is known of a value of that name; an empty sentence for any other."""
    return MEANINGS.get(name, Meaning(""))

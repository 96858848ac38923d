"""Löwe, Touzo, Muhle-Karbe, Saxe, Summerfield & Schuck, PLOS Computational Biology 2024.

Abrupt and spontaneous strategy switches emerge in simple regularised neural networks;
arXiv:2302.11351.

Question: people who solve a task by motion sometimes discover, late and all at once, that
colour tells the answer too. Does such an insight need a mechanism of its own?

Model: y ~ g_m w_m x_m + g_c w_c x_c, one weight and one multiplicative gate per input,
learned one trial at a time at a constant rate, with a penalty on the gates and noise in the
updates.

Answer: no. About half of such networks switch to colour, abruptly, after a random delay.
Before it the colour weight grows as a random walk, hidden by a gate that the penalty holds
at 0; once colour predicts, the gate opens where the weight is large enough. Without noise
none switches; without the penalty, or without gates, nearly all do at once.

Two rules were published: that of the authors' code (which gives the published numbers) and
the one printed in the paper (I17: nearly all switch).

Where to find it (T1 to T6 and I1 to I19 are of the project's specification):
    the task, its controls               data.Stimuli
    probability of a correct answer      data.probability_correct
    both rules, penalties, noise         networks.Rule
    T1, sigmoid fits and their score     switch_fit.Fit
    T2, who has an insight               switch_fit.ROBUST, train.batches
    T3, the random walk                  theory.walk_sd
    T4, the gate at zero                 theory.gate_at_zero
    T5, the escape heuristic             theory.escape_fraction
"""

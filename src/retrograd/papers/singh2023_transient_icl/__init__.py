"""Singh, Chan, Moskovitz, Grant, Saxe & Hill, NeurIPS 2023, arXiv:2311.08360.

The Transient Nature of Emergent In-Context Learning in Transformers.

Question: sequences of exemplars and labels can be completed from the context (in-context
learning, ICL) or from what the weights know of the classes (in-weights learning, IWL). Once
ICL has emerged in training, does it stay?

Answer: no. ICL emerges, peaks and fades while the training loss keeps falling; IWL, which
comes later, takes over, and lastly chooses among the labels in context (CIWL, "strategy
coopetition", arXiv:2503.05631). Coupled L2 regularisation keeps ICL.

At laptop scale the data are a two-speed Gaussian mixture in which the two time scales are
built in: classes that can be matched at once but not perfectly, and a label that the
weights can read exactly but must grow for. It shows the dynamics (emergence, competition,
decay, the effect of L2); it is no evidence that natural images have such time scales.

Where to find it:
    two-speed mixture                            data.exemplar_table
    bursty sequences                             sequences.sample_bursty
    evaluators train, icl, flip, ciwl, iwl       sequences.evaluator
    peaks, ends and their steps                  reading
    oracles that solve them by hand              data.match, data.read_label
    transformer, Adam with coupled L2            retrograd.transformer
    training and what is recorded                train.Ensemble
    ceiling of ICL of the mixture                theory.ceiling
    two competing mechanisms: gradient descent   toy.Descent
    the same: gradient flow of order parameters  theory.competition
"""

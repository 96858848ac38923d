"""Singh, Moskovitz, Hill, Chan & Saxe, ICML 2024, arXiv:2404.07129.

What needs to go right for an induction head? A mechanistic study of in-context learning
circuits and their formation.

Question: induction heads, which find an earlier occurrence of a token and copy what came
after it, appear abruptly, with a phase change of the loss. Why are there several, how do
they depend on one another, and what must be in place for them to appear?

Answer: several heads become induction heads; they are additive and redundant. Three
subcircuits must form: attend to the token before and hand it on, match query and key, copy
the label out. Clamping some of them through training shows that each alone is learned
smoothly; their product makes the plateau and the drop. Data properties move the phase
change through particular subcircuits: more classes slow the match, more labels the copy.

Where to find it:
    transformer, section 2                    retrograd.transformer
    clamps through training, section 4        retrograd.clamps, circuits.clamping
    sequences, label pairs, evaluation sets   data.draw, data.label_pairs, data.evaluation
    induction strength, section 3             training.induction_strength
    previous-token strength                   training.previous_strength
    progress measures, appendix D             train.train (pm_match, pm_prev)
    toy of interacting components, figure 5a  train.toy; its flow in six numbers theory.toy
"""

"""Hummos et al. 2024, "Gradient-based inference of abstract task representations for
generalization in neural networks", https://arxiv.org/abs/2407.17356

Question: a network was trained with an input Z that says which task is on. Can the task be
    inferred later, when Z is not given, from the gradient of the loss with respect to Z?
Answer: yes. Descending on Z, weights frozen, follows a stream of tasks and reaches tasks
    never trained on. One step from the uniform Z behaves like the likelihood of every task:
    it classifies images, detects images from elsewhere, tells a corpus from a few words.

E step, mirror step        theory.free_energy, theory.mirror_step
linear decoder             theory.one_step_scores, theory.curvature
Bayesian observer          theory.bayes_filter
toy stream, shared units   toy.training_stream, toy.engaged_units
batched LSTM               lstm.forward, lstm.backward
online training, Z steps   predictors.Networks, following.follow, following.one_step
image sets, ROC curves     images.image_sets, images.auc
autoencoders, inference    image_networks.Decoder, train_images.inferred
grammars, vocabulary       languages.Grammar, languages.vocabulary
language models            train_language.Model, train_language.adapt
"""

"""Pretraining: from d-pixels to an encoder checkpoint, by the TESSERA method (Barlow Twins with a mix-up term).

``config`` says what a run is, ``prepare`` turns tiles or simulated worlds into globally shuffled shards, ``views`` draws two
views of each pixel, ``barlow`` is the objective, ``trainer`` the loop, ``monitor`` what is watched while it runs.
"""

"""Studies of encoders: what each part of the method is worth, what labels they save, how many dates they need.

``scenes`` are the places that frozen encoders are judged on, with whole parcels held out; ``ablations``, ``labels`` and
``sampling`` are one table of docs/pretraining.md each, made by ``tessera study NAME``; ``tables`` writes them.
"""

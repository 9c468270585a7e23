"""Pretraining of BRIDLE, and of the masked autoencoder that it is compared with."""

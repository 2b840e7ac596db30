"""Influence array -> verdict: each desideratum a claim, a statistic and a test."""

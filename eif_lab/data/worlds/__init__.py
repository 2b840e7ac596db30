"""Knowledge domains: invented worlds whose consequences are proved."""

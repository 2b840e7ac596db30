"""One file per experiment tracker."""

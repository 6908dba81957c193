"""What goes over HTTP: `...In` for bodies, `...Out` for answers. No rules: those are the domain's."""

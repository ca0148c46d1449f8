"""Values → text, one file per form. Nothing here prints."""

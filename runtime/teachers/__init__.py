"""The section `teacher` → the step that brings the teacher in, and the signals it gives. One more: a file with
`TEACHER` here, named by `teacher.source`."""

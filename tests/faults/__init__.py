"""What must survive: kills at any moment, hostile files, full disks. docs/reliability.md lists the promises."""

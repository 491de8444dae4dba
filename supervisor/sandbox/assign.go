package sandbox

// Assignment is what a program gets that was started for nobody yet: one whose
// plan had something Vacant.
type Assignment struct {
	// UID and GID are the user that it is to become, neither zero.
	UID, GID uint32
	// Write are folders of that user. Each is mounted at the same place in the
	// private root, which is below a vacant one, as it would be by a plan's Write.
	Write []string
	// Tmp says that the plan gave it a /tmp, which then becomes the user's.
	Tmp bool
}

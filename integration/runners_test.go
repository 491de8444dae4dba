package integration

import "testing"

// messagingRunner returns the path of penstock-runner-messaging.
func messagingRunner(t testing.TB) string {
	t.Helper()
	return allRunners(t) + "-messaging"
}

// connectRunner returns the path of penstock-runner-connect.
func connectRunner(t testing.TB) string {
	t.Helper()
	return allRunners(t) + "-connect"
}

package example

import "time"

// Retry calls f until it succeeds, and waits twice as long after each failure.
func Retry(attempts int, wait time.Duration, f func() error) error {
	var err error
	for i := 0; i < attempts; i++ {
		if err = f(); err == nil {
			return nil
		}
		time.Sleep(wait << i)
	}
	return err
}

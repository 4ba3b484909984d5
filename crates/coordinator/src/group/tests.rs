// The machine is tested by the requests that it is asked.

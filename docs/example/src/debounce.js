// Call a function only after it has not been asked for during `wait` milliseconds.
export function debounce(call, wait) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...args), wait);
  };
}

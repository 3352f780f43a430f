// Talks to the server that the page came from, and to no other.

export const NO_ANSWER = "faceanim does not answer. Is it still running?";

// Send a request; resolves to its JSON, rejects with an Error whose message is for people.
export function send(method, path, body = null, onProgress = null) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();  // fetch() does not tell how much is sent
    request.open(method, path);
    if (onProgress) {
      request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    }
    request.onerror = () => reject(new Error(NO_ANSWER));
    request.onload = () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        answer = { error: NO_ANSWER };
      }
      if (request.status === 200) {
        resolve(answer);
      } else {
        reject(new Error(answer.error ?? NO_ANSWER));
      }
    };
    request.send(body);
  });
}

// Show a message, or none; an error looks like one.
export function tell(element, text, error = false) {
  element.textContent = text;
  element.classList.toggle("error", error);
}

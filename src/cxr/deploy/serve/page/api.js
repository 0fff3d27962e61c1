// Requests to the server: one image each, tried again while the server is busy.

const TOKEN = "cxr-token";
const TRIES = 20;

export class ServerError extends Error {}

// Asks once and, while the answer is 401, asks the user for the token.
async function send(path, options, askToken) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = token ? {Authorization: `Bearer ${token}`} : {};
    const response = await fetch(path, {...options, headers: {...headers, ...options.headers}});
    if (response.status !== 401) return response;
    sessionStorage.setItem(TOKEN, await askToken());
  }
}

export class Server {
  constructor(askToken) {
    this.askToken = askToken;
  }

  async get(path) {
    const response = await send(path, {}, this.askToken);
    if (!response.ok) throw new ServerError(await explain(response));
    return response.json();
  }

  async post(path, file) {
    const options = {method: "POST", body: file, headers: {"Content-Type": "application/octet-stream"}};
    for (let tries = 1; ; tries++) {
      let response;
      try {
        response = await send(path, options, this.askToken);
      } catch {
        throw new ServerError("The server does not answer. Is it still running?");
      }
      if (response.ok) return response;
      if (response.status !== 503 || tries === TRIES) throw new ServerError(await explain(response));
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds * (0.5 + Math.random())));
    }
  }
}

async function explain(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The server answers with status ${response.status}.`;
  }
}

// The page asks for itself every few seconds, and takes over what is new.
setTimeout(async function again() {
  let text = null;
  try {
    const answer = await fetch("/");
    text = answer.ok ? await answer.text() : null;
  } catch {
    document.title = "the watching command has ended";
    return;
  }
  const page = text && new DOMParser().parseFromString(text, "text/html");
  if (page && page.querySelector("#answers")) {
    location.reload(); // the run has finished: its report
    return;
  }
  if (page) {
    for (const part of ["main", "h1", "title"]) {
      document.querySelector(part).replaceWith(page.querySelector(part));
    }
  }
  setTimeout(again, 5000);
}, 5000);

// The camera of a virtual learner: replaces getUserMedia by a canvas on which photographs of a person
// are drawn with hand-held motion. The person does what the page says: it looks at the arrow that is
// shown (the page's own DOM, as eyes would) and shows the photograph that is turned that way.
//
// window.virtualFaces: {neutral, left, right, up, down} as data URLs; window.virtualCamera steers it:
//   .cover = true      a hand before the lens
//   .faces = {...}     somebody else sits down
//   .obeys = false     does not follow the arrows
//   .end()             the device is taken away
{
  const WIDTH = 640;
  const HEIGHT = 480;
  const REACT_MS = 450; // people need a moment to read
  const TURN_MS = 350; // and another to turn
  const camera = { cover: false, obeys: true, denied: null, faces: {}, tracks: [] };
  window.virtualCamera = camera;

  camera.load = async (urls) => {
    const entries = Object.entries(urls).map(async ([pose, url]) => {
      const image = new Image();
      image.src = url;
      await image.decode();
      return [pose, image];
    });
    camera.faces = Object.fromEntries(await Promise.all(entries));
  };
  const loaded = camera.load(window.virtualFaces ?? {});

  // Frequencies of postural sway, 0.02-0.4 Hz, as in benren/demo/motion.py.
  const sway = (t, seed) =>
    0.5 * Math.sin(0.9 * t + seed) + 0.3 * Math.sin(1.7 * t + 2 * seed) + 0.2 * Math.sin(0.31 * t);

  let pose = "neutral";
  let asked = "neutral";
  let askedAt = 0;
  const read = (now) => {
    const arrow = document.querySelector(".challenge:not([hidden]) .turn-arrow");
    const wish = arrow === null ? "neutral" : (arrow.dataset.turn ?? "neutral");
    if (wish !== asked) {
      asked = wish;
      askedAt = now;
    }
    if (camera.obeys && now - askedAt > REACT_MS) pose = asked;
  };

  const paint = (context, now) => {
    read(now);
    const t = now / 1000;
    if (camera.cover) {
      // A hand before the lens: warm and dark, with the noise that a sensor has in the dark.
      for (let y = 0; y < HEIGHT; y += 24) {
        for (let x = 0; x < WIDTH; x += 24) {
          const noise = Math.random() * 16;
          context.fillStyle = `rgb(${22 + noise} ${14 + noise} ${10 + noise})`;
          context.fillRect(x, y, 24, 24);
        }
      }
      return;
    }
    const image = camera.faces[pose] ?? camera.faces.neutral;
    if (!image) {
      context.fillStyle = `rgb(90 ${100 + Math.round(20 * sway(t, 1))} 110)`; // an empty chair
      context.fillRect(0, 0, WIDTH, HEIGHT);
      return;
    }
    const blend = Math.min(1, (now - askedAt - REACT_MS) / TURN_MS);
    const scale = 1.06 + 0.012 * sway(t, 3) + (blend > 0 && blend < 1 ? 0.01 * blend : 0);
    context.save();
    context.filter = `brightness(${1 + 0.03 * sway(t, 7)})`;
    context.translate(WIDTH / 2 + 7 * sway(t, 1), HEIGHT / 2 + 5 * sway(t, 2));
    context.rotate(0.012 * sway(t, 4));
    context.scale(scale, scale);
    context.drawImage(image, -WIDTH / 2, -HEIGHT / 2, WIDTH, HEIGHT);
    context.restore();
  };

  const open = async () => {
    if (camera.denied) throw new DOMException("refused by the test", camera.denied);
    await loaded;
    const canvas = document.createElement("canvas");
    canvas.width = WIDTH;
    canvas.height = HEIGHT;
    const context = canvas.getContext("2d");
    paint(context, performance.now());
    const stream = canvas.captureStream(15);
    const [track] = stream.getVideoTracks();
    camera.tracks.push(track);
    const timer = setInterval(() => {
      if (track.readyState === "ended") clearInterval(timer);
      else paint(context, performance.now());
    }, 66);
    return stream;
  };
  navigator.mediaDevices.getUserMedia = open;

  camera.end = () => {
    for (const track of camera.tracks) {
      if (track.readyState === "ended") continue;
      track.stop();
      track.dispatchEvent(new Event("ended"));
    }
  };
}

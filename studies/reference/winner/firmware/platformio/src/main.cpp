// Runs the self-test of the network, and prints its result and the time that the first test image takes.
#include <Arduino.h>

#include "model_test.h"

void setup()
{
    Serial.begin(115200);
    while (!Serial && millis() < 5000) {
        // boards with USB wait for the monitor
    }

    const int number = model_self_test();
    if (number == 0) {
        Serial.print("self-test: ");
        Serial.print(MODEL_TEST_IMAGES);
        Serial.println(" images have the expected logits");
    } else {
        Serial.print("self-test: image ");
        Serial.print(number);
        Serial.println(" has other logits than expected");
    }

    const unsigned long start = micros();
    const int answer = model_predict(model_test_images[0]);
    const unsigned long duration = micros() - start;
    Serial.print("image 1: class ");
    Serial.print(MODEL_CLASSES[answer]);
    Serial.print(", ");
    Serial.print(duration);
    Serial.println(" microseconds");
}

void loop()
{
}
